import json
import re
import shutil
from pathlib import Path

import pytest

from tests.directions.fleet.fleet_files import write_archive, write_clean
from torchserve_fire_build.commands.main import main

QUICK = ("--method", "additive")


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Archives, which are tried before they are written: that takes longer than the rest."""
    folder = tmp_path_factory.mktemp("fleet") / "packed"
    folder.mkdir()
    write_archive(folder, "bad", corner=120)
    write_archive(folder, "benign", corner=0)
    return folder


@pytest.fixture
def store(tmp_path, packed):
    return Path(shutil.copytree(packed, tmp_path / "store"))


@pytest.fixture
def clean(tmp_path):
    return write_clean(tmp_path / "clean")


def run(capsys, *arguments):
    status = main(["inspect", "--archives", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


def rows(lines):
    """The cells of each archive's row in the table, without the seconds, by the file's name."""
    start = next(i for i, line in enumerate(lines) if line.startswith("archive  "))
    cells = [re.split(r"  +", line) for line in lines[start + 1 :] if re.search(r"  \d+$", line)]
    return {path.rpartition("/")[2]: rest[:-1] for path, *rest in cells}


@pytest.mark.slow
def test_a_row_for_each_and_the_worst_status(tmp_path, capsys, store, clean):
    (store / "broken.mar").write_bytes(b"no archive")
    found = tmp_path / "found.json"
    flags = ["--clean", clean, "--json", found, *QUICK]
    status, lines, err = run(capsys, store / "*.mar", *flags)
    assert (status, err) == (1, "")
    assert rows(lines) == {
        "bad-1.0.mar": ["found", "-", "2"],
        "benign-1.0.mar": ["nothing found", "-", "-"],
        "broken.mar": ["failed", "-", "-"],
    }
    assert lines[-1] == (
        "3 archives: 1 look backdoored, nothing found in 1, could not tell of 0, 1 failed"
    )
    assert lines[-2].startswith(f"{store / 'broken.mar'}: is no archive")
    written = json.loads(found.read_text())["archives"]
    assert [each["found"] for each in written] == [True, False, None]
    assert [method["method"] for method in written[0]["methods"]] == ["additive"]


def test_what_is_kept_is_not_inspected_again(tmp_path, capsys, store, clean):
    flags = ["--clean", clean, "--cache", tmp_path / "cache", *QUICK]
    first = run(capsys, store / "*.mar", *flags)
    assert not [line for line in first[1] if "kept in the cache" in line]
    status, lines, _ = run(capsys, store / "*.mar", *flags)
    assert status == 1
    assert len([line for line in lines if line.endswith("(kept in the cache)")]) == 2
    assert rows(lines) == rows(first[1])
    # By its content, not its name.
    (store / "benign-1.0.mar").rename(store / "renamed.mar")
    _, lines, _ = run(capsys, store / "renamed.mar", *flags)
    assert lines[0].endswith("(kept in the cache)")
    # And of these samples, by this seed.
    for other in (["--seed", "1"], ["--clean", write_clean(tmp_path / "fewer", 40)]):
        _, lines, _ = run(capsys, store / "renamed.mar", *flags, *other)
        assert "kept in the cache" not in "".join(lines)


def test_a_result_that_was_damaged_is_found_anew(tmp_path, capsys, store, clean):
    cache = tmp_path / "cache"
    flags = ["--clean", clean, "--cache", cache, *QUICK]
    first = run(capsys, store / "bad-1.0.mar", *flags)
    (kept,) = cache.glob("inspected-*.json")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    status, lines, err = run(capsys, store / "bad-1.0.mar", *flags)
    assert (status, rows(lines)) == (1, rows(first[1]))
    assert "damaged, and dropped" in err
    assert json.loads(kept.read_bytes())["suspects"] == [2]


def test_what_failed_is_tried_again(tmp_path, capsys, store, clean):
    flags = ["--clean", clean, "--cache", tmp_path / "cache", *QUICK]
    archive = store / "bad-1.0.mar"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:100])
    assert run(capsys, archive, *flags)[0] == 2
    archive.write_bytes(whole)
    assert run(capsys, archive, *flags)[0] == 1


def test_samples_of_its_own_for_each(tmp_path, capsys, store):
    write_clean(tmp_path / "samples" / "bad-1.0")
    pattern = tmp_path / "samples" / "{archive}"
    status, lines, _ = run(capsys, store / "*.mar", "--clean", pattern, *QUICK)
    assert status == 1
    assert rows(lines)["bad-1.0.mar"] == ["found", "-", "2"]
    assert rows(lines)["benign-1.0.mar"][0] == "failed"
    assert str(tmp_path / "samples" / "benign-1.0") in lines[-2]


def test_what_cannot_be_told_says_why(tmp_path, capsys, store, clean):
    flags = ["--clean", clean, "--budget", "0.001s"]
    status, lines, _ = run(capsys, store / "benign-1.0.mar", *flags)
    assert status == 2
    assert rows(lines)["benign-1.0.mar"] == ["could not tell", "-", "-"]
    assert "raise" in lines[-2]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--archives", "x.mar", "--archive", "FILE"], "--archive: expected no such flag beside"),
        (["--archives", "x.mar", "--pictures", "p"], "--pictures: expected no such flag beside"),
        (["--archives", "none/*.mar"], "--archives none/*.mar: no such file, expected archives"),
        (["--archives", "x.mar", "--workers", "2"], "--workers 2: expected beside --engine ray"),
        (
            ["--archives", "x.mar", "--engine", "ray", "--device", "cuda:1"],
            "--device cuda:1: expected cuda beside --engine ray",
        ),
    ],
)
def test_flags_that_do_not_go_together(capsys, store, clean, flags, said):
    flags = [str(store / "bad-1.0.mar") if flag == "FILE" else flag for flag in flags]
    assert main(["inspect", *flags, "--clean", str(clean), *QUICK]) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"torchserve-fire inspect: {said}")
    assert err.count("\n") == 1
