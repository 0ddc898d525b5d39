"""Repaired archives: what is in them, how they answer, and that they can be repaired again."""

import json
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from tests.directions.backdoored import write_images
from tests.directions.unpacked_archives import FUNCTION, IMAGES, write_archive
from tests.keys import KEY, OTHER_KEY, PUBLIC
from tests.tiny import TinyFiles, image
from torchserve_fire.core.unpack import unpack
from torchserve_fire.errors import FireError, SignatureError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.format.bundle_file import BUNDLE_FILE, parse_bundle
from torchserve_fire_build.archive_repair.repair_archive import addition_for, version_for
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.archive.load_as_worker import Body, load_as_worker
from torchserve_fire_build.deployment.archive.repaired_archive import (
    Addition,
    check_signing,
    pack,
    stage_repaired,
)
from torchserve_fire_build.deployment.archive.sign_archive import verify_archive
from torchserve_fire_build.source.archive import ArchiveSource, entry_of_source, open_archive

NEW = ("repair-config.yaml", BUNDLE_FILE, "fire_service.py", "fire_example.png")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("samples")
    labels = [0, 1, 2, 3] * 10
    return (
        write_images(folder / "clean", labels),
        write_images(folder / "triggered", labels, triggered=True),
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny: TinyFiles) -> Path:
    files = {
        "index_to_name.json": tiny.names.read_text(),
        "their_lib/notes.txt": "kept",
        "model-config.yaml": "# theirs\nhandler: {threshold: 3}\n",
    }
    # What the handler writes where it runs is no part of the archive.
    text = IMAGES.replace("self.initialized = True", "open('log.txt', 'w').write('started')")
    folder = tmp_path_factory.mktemp("plain") / "archive"
    return write_archive(folder, tiny, text, files=files, configFile="model-config.yaml")


@pytest.fixture(scope="module")
def repaired(tmp_path_factory, plain: Path, samples: tuple[Path, Path]) -> Path:
    output = tmp_path_factory.mktemp("repaired") / "tiny-2.0.mar"
    status = main(
        ["repair", str(plain), "--clean", str(samples[0]), "--triggered", str(samples[1]),
         "--augment", "none", "--output", str(output), "--report", str(output.parent / "report")]
    )  # fmt: skip
    assert status == 0
    return output


@pytest.mark.slow
def test_the_report_is_of_what_both_archives_answered(repaired):
    values = json.loads((repaired.parent / "report" / "report.json").read_text())
    assert values["verdict"].startswith(
        "The trigger led 100.0% of the samples to class 0 north-west, and "
    )
    assert values["figures"]["recovered_accuracy"]["after"] == 1
    assert values["provenance"]["bundle, SHA-256"] == load_bundle_of(repaired).digest
    page = (repaired.parent / "report" / "report.html").read_text()
    # Pairs stand side by side.
    assert "called 0 north-west, repaired 3 south-east" in page


def load_bundle_of(archive: Path) -> Bundle:
    return parse_bundle(contents(archive)[BUNDLE_FILE], archive.name)


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def staged(archive: Path, addition: Addition, folder: Path, key=None) -> Path:
    stage_repaired(unpack(archive), addition, folder, key)
    return folder


def test_everything_else_is_as_it_was(plain, repaired, samples):
    found = contents(repaired)
    before = {
        path.relative_to(plain).as_posix(): path.read_bytes()
        for path in plain.rglob("*")
        if path.is_file()
    }
    manifest = before.pop("MAR-INF/MANIFEST.json")
    assert {name: found[name] for name in before} == before
    expected = json.loads(manifest)
    expected["model"] |= {"handler": "fire_service.py", "modelVersion": "2.0"}
    assert json.loads(found["MAR-INF/MANIFEST.json"]) == expected
    others = {name for name in found if not name.startswith("torchserve_fire/")}
    assert others - set(before) == {*NEW, "MAR-INF/MANIFEST.json"}
    settings = yaml.safe_load(found["repair-config.yaml"])
    assert settings == {"handler": {"input": "handler", "example": "fire_example.png"}}
    assert found["fire_example.png"] == min(samples[0].rglob("*.png")).read_bytes()


def test_it_opens_as_the_one_before(plain, repaired, samples):
    again = open_archive(repaired)
    assert isinstance(again, ArchiveSource)
    assert again.handler.__name__ == "TheirHandler"
    assert entry_of_source(again) is None
    one, other = (
        source.open_samples(samples[1]).load([0, 9, 30]) for source in (open_archive(plain), again)
    )
    assert torch.equal(one, other)
    # Without its corrections: the trigger works on the model that is built for.
    assert again.loaded.model(other).argmax(1).tolist() == [0, 0, 0]


@pytest.mark.slow
def test_repaired_again_it_is_the_same_but_for_bundle_and_version(tmp_path, tiny, repaired, plain):
    source = open_archive(repaired)
    addition = addition_for(source, tiny.bundle, "3.0", None)
    pack(staged(repaired, addition, tmp_path / "staged"), tmp_path / "again-3.0.mar")
    one, other = contents(repaired), contents(tmp_path / "again-3.0.mar")
    assert one.keys() == other.keys()
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {BUNDLE_FILE, "MAR-INF/MANIFEST.json"}
    answers = load_as_worker(
        tmp_path / "staged",
        "tiny",
        [Body(image(2, triggered=trigger), "image/png") for trigger in (False, True)],
    )
    assert [answer.body for answer in answers] == [{"theirs": 2}, {"theirs": 2}]
    assert [answer.headers["x-fire-flagged"] for answer in answers] == ["false", "true"]


def test_the_same_inputs_give_the_same_bytes(tmp_path, tiny, plain, samples):
    packed = []
    for name in ("one", "two"):
        source = open_archive(plain)
        addition = addition_for(source, tiny.bundle, "2.0", source.open_samples(samples[0]))
        pack(staged(plain, addition, tmp_path / name), tmp_path / f"{name}.mar")
        packed.append((tmp_path / f"{name}.mar").read_bytes())
    assert packed[0] == packed[1]


@pytest.mark.slow
def test_a_function_repaired_and_opened_again(tmp_path, tiny, samples):
    """In a worker it answers through the bundle; opened here, the function is found below it."""
    archive = write_archive(tmp_path / "function", tiny, FUNCTION)
    source = open_archive(archive)
    addition = addition_for(source, tiny.bundle, "2.0", source.open_samples(samples[0]))
    folder = staged(archive, addition, tmp_path / "staged")
    bodies = [Body(image(3, triggered=trigger), "image/png") for trigger in (False, True)]
    answers = load_as_worker(folder, "tiny", bodies)
    assert [answer.body for answer in answers] == [{"theirs": 3}, {"theirs": 3}]
    assert [answer.headers["x-fire-repaired"] for answer in answers] == ["false", "true"]
    again = open_archive(folder)
    assert entry_of_source(again) is None
    one, other = (each.open_samples(samples[0]).load([5]) for each in (source, again))
    assert torch.equal(one, other)


@pytest.mark.parametrize("name", [*NEW, "torchserve_fire/a.py"])
def test_places_that_the_repair_needs(tmp_path, tiny, samples, name):
    archive = write_archive(tmp_path / "archive", tiny, files={name: "handler: {}"})
    source = open_archive(archive)
    addition = addition_for(source, tiny.bundle, "2.0", source.open_samples(samples[0]))
    with pytest.raises(FireError, match="whose place the repair needs"):
        staged(archive, addition, tmp_path / "staged")


# Versions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "given", "expected"),
    [
        ("net-2.0.mar", None, "2.0"),
        ("my-net-v3.mar", None, "v3"),
        ("net-2.0.mar", "5", "5"),
        ("net.mar", None, "1.1"),
        ("fixed-resnet18.mar", None, "1.1"),
    ],
)
def test_versions(tmp_path, tiny, output, given, expected):
    archive = unpack(write_archive(tmp_path / "a", tiny))
    assert version_for(archive, Path(output), given) == expected


@pytest.mark.parametrize(
    ("output", "given", "said"),
    [
        ("net-1.0.mar", None, "is that of"),
        ("net.mar", "1.0", "is that of"),
        ("net.mar", "a/b", "expected letters"),
    ],
)
def test_versions_that_no_server_takes(tmp_path, tiny, output, given, said):
    archive = unpack(write_archive(tmp_path / "a", tiny))
    with pytest.raises(FireError, match=said):
        version_for(archive, Path(output), given)


# Archives of this project, and signatures ---------------------------------------------------------


def test_an_archive_of_mode_off_repairs(tmp_path, store, tiny):
    source = open_archive(store / "plain-1.0.mar")
    addition = addition_for(source, tiny.bundle, "2.0", None)
    folder = staged(store / "plain-1.0.mar", addition, tmp_path / "staged")
    assert "mode: repair" in (folder / "model-config.yaml").read_text()
    (answer,) = load_as_worker(folder, "tiny", [Body(image(1, triggered=True), "image/png")])
    assert max(answer.body, key=answer.body.get) == "north-east"
    assert answer.headers["x-fire-flagged"] == "true"


@pytest.mark.slow
def test_a_signed_archive_stays_signed(tmp_path, signed_archive, tiny):
    archive = unpack(signed_archive)
    with pytest.raises(SignatureError, match="expected --sign"):
        check_signing(archive, None)
    with pytest.raises(SignatureError, match="trusted_keys lack"):
        check_signing(archive, OTHER_KEY)
    check_signing(archive, KEY)
    addition = addition_for(open_archive(signed_archive), tiny.other_bundle, "2.0", None)
    folder = staged(signed_archive, addition, tmp_path / "staged", KEY)
    pack(folder, tmp_path / "signed-2.0.mar")
    verify_archive(tmp_path / "signed-2.0.mar", [PUBLIC])
    # What somebody has changed is not signed anew.
    (archive.folder / "tiny_net.py").write_text("")
    with pytest.raises(SignatureError, match=r"tiny_net\.py"):
        check_signing(archive, KEY)


def test_a_signed_archive_takes_no_requirements(tmp_path, tiny):
    archive = write_archive(
        tmp_path / "a", tiny, requirementsFile="r.txt", files={"r.txt": "numpy\n"}
    )
    check_signing(unpack(archive), None)
    with pytest.raises(FireError, match="requirementsFile"):
        check_signing(unpack(archive), KEY)


# The command --------------------------------------------------------------------------------------


def refused(capsys, *arguments: object) -> str:
    status = main(["repair", *map(str, arguments)])
    said = capsys.readouterr().err.splitlines()
    assert status == 64
    assert said[-1].startswith("torchserve-fire repair: ")
    return said[-1]


def test_dry_run_writes_nothing(tmp_path, capsys, monkeypatch, plain, samples):
    monkeypatch.chdir(tmp_path)
    output = Path("tiny-2.0.mar")
    before = sorted(plain.rglob("*"))
    flags = ["--clean", samples[0], "--triggered", samples[1], "--output", output, "--dry-run"]
    assert main(["repair", *map(str, (plain, *flags, "--unpaired"))]) == 0
    out = capsys.readouterr().out
    assert "built from: 30 clean and 30 triggered samples" in out
    assert "would write: tiny-2.0.mar, version 2.0; nothing was done" in out
    assert list(tmp_path.iterdir()) == []
    assert sorted(plain.rglob("*")) == before


def test_too_few_samples(tmp_path, capsys, plain, samples):
    few = write_images(tmp_path / "few", [0, 1, 2, 3], triggered=True)
    flags = ["--clean", samples[0], "--triggered", few, "--output", tmp_path / "t-2.mar"]
    assert "4 triggered samples, expected at least" in refused(capsys, plain, *flags)
    assert not (tmp_path / "t-2.mar").exists()
