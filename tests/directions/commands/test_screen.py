import csv
import json
from pathlib import Path

import pytest

from tests.directions import backdoored_nets
from tests.directions.backdoored import (
    clean_inputs,
    labels_of,
    stamp,
    write_images,
    write_tensors,
)
from tests.directions.commands.test_inspect import write_model
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.screening import screen_samples


@pytest.fixture
def clean(tmp_path):
    return write_images(tmp_path / "clean", [0, 1, 2, 3] * 20)


@pytest.fixture
def triggered(tmp_path):
    return write_images(tmp_path / "triggered", [1, 2, 3] * 10, triggered=True, flat=True, seed=1)


def run(capsys, *arguments):
    status = main(["screen", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys, *arguments, as_status=64):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (as_status, "")
    assert err.startswith("torchserve-fire screen: ")
    assert err.count("\n") == 1
    return err


def test_triggered_pictures_are_found(tmp_path, capsys, tiny_model, clean, triggered):
    files = [
        *("--csv", tmp_path / "p.csv"),
        *("--json", tmp_path / "p.json"),
        *("--sheet", tmp_path / "p.png"),
    ]
    status, out, err = run(capsys, *tiny_model, "--clean", clean, *files, triggered)
    assert (status, err) == (1, "")
    assert "called class 0 north-west: 30 samples beside 20 clean ones: they differ" in out
    assert f"{tmp_path / 'p.png'}: written" in out
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [row["path"] for row in rows] == [str(f) for f in sorted(triggered.iterdir())]
    values = json.loads((tmp_path / "p.json").read_text())
    assert (values["found"], values["suspects"]) == (True, [0])
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_clean_pictures_are_not(tmp_path, capsys, tiny_model, clean):
    others = write_images(tmp_path / "others", [0, 1, 2, 3] * 8, seed=2)
    before = sorted(tmp_path.rglob("*"))
    status, out, err = run(capsys, *tiny_model, "--clean", clean, others)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("nothing found")
    assert sorted(tmp_path.rglob("*")) == before


def test_files_and_folders_together(capsys, tiny_model, clean, triggered):
    one, two, *_ = sorted(triggered.iterdir())
    status, out, _ = run(capsys, *tiny_model, "--clean", clean, one, two, one)
    # Two are one of the 231 choices of two: enough to be found at the level.
    assert status == 1
    assert "called class 0 north-west: 2 samples" in out


def test_a_single_picture_beside_few_clean_samples_is_left_open(
    capsys, tiny_model, clean, triggered
):
    one = sorted(triggered.iterdir())[0]
    status, out, err = run(capsys, *tiny_model, "--clean", clean, one)
    assert (status, err) == (2, "")
    assert out.splitlines()[-1].startswith("could not tell")


def test_a_bundle_judges(tmp_path, capsys, tiny, tiny_model, triggered):
    others = write_images(tmp_path / "others", [0, 1], seed=2)
    flags = [*tiny_model, "--bundle", tiny.bundle]
    status, out, _ = run(capsys, *flags, "--json", tmp_path / "p.json", triggered, others)
    assert status == 1
    assert "found: 30 of 32 samples are flagged" in out
    rows = json.loads((tmp_path / "p.json").read_text())["samples"]
    assert {row["repaired"] for row in rows if row["flagged"]} == {1, 2, 3}
    assert run(capsys, *flags, others)[0] == 0


def test_either_a_bundle_or_clean_samples(capsys, tiny, tiny_model, clean, triggered):
    both = ["--bundle", tiny.bundle, "--clean", clean]
    assert "--clean" in refused(capsys, *tiny_model, *both, triggered)
    assert "--clean: expected clean samples" in refused(capsys, *tiny_model, triggered)


def test_a_picture_that_is_none_is_named(tmp_path, capsys, tiny_model, clean):
    (tmp_path / "note.txt").write_text("hello")
    said = refused(capsys, *tiny_model, "--clean", clean, tmp_path / "note.txt")
    assert str(tmp_path / "note.txt") in said


def test_what_nobody_foresaw_is_no_finding(capsys, monkeypatch, tiny_model, clean, triggered):
    def fail(*arguments):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(screen_samples, "screen_features", fail)
    said = refused(capsys, *tiny_model, "--clean", clean, triggered, as_status=2)
    assert "stopped by ZeroDivisionError, could not tell: by nothing" in said


def test_tensors(tmp_path, capsys):
    model = write_model(
        tmp_path / "model",
        Path(backdoored_nets.__file__).read_text(),
        backdoored_nets.backdoored("vector").state_dict(),
    )
    with (tmp_path / "model" / "model-config.yaml").open("a") as config:
        config.write("  model_class: VectorNet\n")
    clean = write_tensors(tmp_path / "clean.npz", clean_inputs("vector", labels_of(80), 0))
    asked = stamp("vector", clean_inputs("vector", labels_of(20), 1))
    first = write_tensors(tmp_path / "a.npz", asked[:10])
    second = write_tensors(tmp_path / "b.safetensors", asked[10:])
    status, out, _ = run(capsys, *model, "--clean", clean, first, second)
    assert status == 1
    assert "called class 0: 20 samples" in out
    said = refused(capsys, *model, "--clean", clean, "--engine", "ray", first, second)
    assert "--engine ray: expected samples with a file for each" in said


@pytest.mark.parametrize("repaired", [True, False])
@pytest.mark.slow
def test_the_bundle_in_an_archive_judges(tmp_path, capsys, tiny, tiny_model, triggered, repaired):
    (tmp_path / "store").mkdir()
    config = tiny.config(tmp_path / "store", mode="repair" if repaired else "off")
    packed = ["package", *tiny_model, "--model-name", "net", "--version", "1.0"]
    packed += ["--config-file", config, "--export-path", tmp_path / "store"]
    packed += ["--bundle", tiny.bundle] if repaired else []
    assert main([str(word) for word in packed]) == 0
    capsys.readouterr()
    (archive,) = (tmp_path / "store").glob("*.mar")
    if repaired:
        assert run(capsys, "--archive", archive, triggered)[0] == 1
    else:
        said = refused(capsys, "--archive", archive, triggered)
        assert "holds no direction bundle, expected --bundle, or --clean with clean samples" in said
