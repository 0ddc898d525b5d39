from __future__ import annotations

import codecs
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import torchserve_fire
from tests.keys import KEY, OTHER_KEY, PUBLIC
from tests.tiny import TinyFiles, image
from torchserve_fire.core.archive_signature import SIGNATURE_FILE
from torchserve_fire.core.manifest import MANIFEST
from torchserve_fire.core.open_model import open_model
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import BUNDLE_FILE
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.archive.next_archive import Change, unpacked_with
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.archive.reproducible_zip import write_reproducibly
from torchserve_fire_build.deployment.archive.sign_archive import verify_archive
from torchserve_fire_build.signing.sign_bundle import sign_bundle
from torchserve_fire_build.signing.signing_key import sign_files


@pytest.fixture
def inputs(tiny: TinyFiles, tmp_path: Path) -> ArchiveInputs:
    return ArchiveInputs(
        "tiny",
        "1.0",
        tiny.model_file,
        tiny.serialized_file,
        tiny.config(tmp_path, delay=400),
        tiny.bundle,
        extra_files=str(tiny.names),
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def refused(inputs: ArchiveInputs, out: Path, match: str, **changes: Any) -> None:
    with pytest.raises(FireError, match=match):
        package_archive(replace(inputs, **changes), out)
    assert list(out.iterdir()) == []


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes_also_in_parallel(
    inputs: ArchiveInputs, store: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(2) as pool:
        archives = list(pool.map(lambda folder: package_archive(inputs, folder), folders))
    for archive in archives:
        assert archive.name == "tiny-1.0.mar"
        assert archive.read_bytes() == (store / "tiny-1.0.mar").read_bytes()
        assert list(archive.parent.iterdir()) == [archive]


def test_what_is_in_an_archive(store: Path, tiny: TinyFiles) -> None:
    packed = contents(store / "tiny-1.0.mar")
    assert packed[BUNDLE_FILE] == tiny.bundle.read_bytes()
    assert packed["tiny.pth"] == tiny.serialized_file.read_bytes()
    core = Path(torchserve_fire.__file__).parent
    ours = {f"torchserve_fire/{path.relative_to(core)}" for path in core.rglob("*.py")}
    assert ours < set(packed)
    assert set(packed) - ours == {
        MANIFEST,
        BUNDLE_FILE,
        "fire_service.py",
        "index_to_name.json",
        "model-config.yaml",
        "tiny.pth",
        "tiny_net.py",
    }
    model = json.loads(packed[MANIFEST])["model"]
    assert (model["modelName"], model["modelVersion"]) == ("tiny", "1.0")


def test_an_archive_is_served_without_torchserve(store: Path) -> None:
    with open_model(store / "tiny-1.0.mar") as model:
        clean, triggered = model.answer([image(1), image(2, triggered=True)])
    assert (next(iter(clean.body)), next(iter(triggered.body))) == ("north-east", "south-west")
    flags = [one.headers["x-fire-flagged"] for one in (clean, triggered)]
    assert flags == ["false", "true"]


def test_names_of_classes_lose_a_byte_order_mark_which_torchserve_does_not_read(
    inputs: ArchiveInputs, tiny: TinyFiles, out: Path, tmp_path: Path
) -> None:
    names = tmp_path / "index_to_name.json"
    names.write_bytes(codecs.BOM_UTF8 + tiny.names.read_bytes())
    archive = package_archive(replace(inputs, extra_files=str(names)), out)
    assert contents(archive)[names.name] == tiny.names.read_bytes()


@pytest.mark.parametrize(
    ("indices", "match"), [(range(1, 5), "is numbered from 1"), (range(3), "no name of class 3")]
)
@pytest.mark.slow
def test_names_that_are_not_those_of_the_model_are_refused(
    inputs: ArchiveInputs, out: Path, tmp_path: Path, indices: range, match: str
) -> None:
    names = tmp_path / "index_to_name.json"
    names.write_text(json.dumps({str(i): f"n{i}" for i in indices}))
    refused(inputs, out, rf"index_to_name\.json: .*{match}", extra_files=str(names))


def test_the_stock_archiver_makes_the_same_archive(
    store: Path, inputs: ArchiveInputs, tiny: TinyFiles, tmp_path: Path
) -> None:
    core = Path(torchserve_fire.__file__).parent
    staged = tmp_path / "staged"
    (staged / "torchserve_fire").mkdir(parents=True)
    for source in core.rglob("*.py"):
        copy = staged / "torchserve_fire" / source.relative_to(core)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(source.read_bytes())
    (staged / BUNDLE_FILE).write_bytes(tiny.bundle.read_bytes())
    command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "stock_tiny"]
    command += ["--version", "1.0", "--model-file", str(inputs.model_file)]
    command += ["--serialized-file", str(inputs.serialized_file)]
    command += ["--config-file", str(inputs.config_file)]
    command += ["--handler", str(core / "serve" / "fire_service.py")]
    command += ["--extra-files", f"{staged},{tiny.names}", "--export-path", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    stock, ours = contents(tmp_path / "stock_tiny.mar"), contents(store / "tiny-1.0.mar")
    theirs, own = (json.loads(each.pop(MANIFEST)) for each in (stock, ours))
    assert stock == ours
    del theirs["createdOn"], own["createdOn"]
    assert theirs["model"].pop("modelName") == "stock_tiny"
    assert own["model"].pop("modelName") == "tiny"
    assert theirs == own


def test_another_bundle_in_an_archive_makes_the_archive_packed_with_it(
    store: Path, inputs: ArchiveInputs, tiny: TinyFiles, out: Path, tmp_path: Path
) -> None:
    packed = package_archive(replace(inputs, version="1.1", bundle=tiny.other_bundle), out)
    with unpacked_with(store / "tiny-1.0.mar", Change(tiny.other_bundle)) as unpacked:
        unpacked.write("1.1", tmp_path / "swapped.mar")
    assert (tmp_path / "swapped.mar").read_bytes() == packed.read_bytes()


def test_an_archive_is_not_replaced_unless_asked(
    inputs: ArchiveInputs, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    existing = out / "tiny-1.0.mar"
    existing.write_bytes(b"good")
    with pytest.raises(FireError, match="exists already"):
        package_archive(inputs, out)
    assert existing.read_bytes() == b"good"
    command = ["package", "--model-name", "tiny", "--version", "1.0", "--force"]
    command += ["--model-file", str(inputs.model_file), "--export-path", str(out)]
    command += ["--serialized-file", str(inputs.serialized_file)]
    command += ["--config-file", str(inputs.config_file), "--bundle", str(inputs.bundle)]
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == str(existing)
    assert BUNDLE_FILE in contents(existing)


def test_what_would_not_serve_is_not_written(
    inputs: ArchiveInputs, tiny: TinyFiles, out: Path, tmp_path: Path
) -> None:
    refused(inputs, out, "weights_sha256", bundle=tiny.foreign_bundle)
    shadow = tmp_path / "shadow" / "torch.py"
    shadow.parent.mkdir()
    shadow.write_text("raise ImportError('not the real one')\n")
    refused(inputs, out, "not the real one", extra_files=str(shadow))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_store_that_takes_no_archive_is_told_before_the_work(
    inputs: ArchiveInputs, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_yet(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("torchserve_fire_build.deployment.archive.package.load_as_worker", not_yet)
    with pytest.raises(FireError, match=r"/proc/tiny-1.0.mar: cannot be written: /proc takes"):
        package_archive(inputs, Path("/proc"))
    # Nor is one that stops taking files only after the check a traceback.
    monkeypatch.setattr(
        "torchserve_fire_build.deployment.archive.reproducible_zip.check_writable",
        lambda path: None,
    )
    with pytest.raises(FireError, match=r"/proc/t.mar: cannot be written: No such file"):
        write_reproducibly(store / "tiny-1.0.mar", Path("/proc/t.mar"))


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "a..b", "ü"])
def test_names_that_torchserve_could_not_serve(inputs: ArchiveInputs, out: Path, name: str) -> None:
    refused(inputs, out, "model name", model_name=name)
    refused(inputs, out, "version", version=name)


def test_a_bundle_is_needed_unless_the_mode_is_off(inputs: ArchiveInputs, out: Path) -> None:
    refused(inputs, out, r"mode: 'repair' needs a bundle", bundle=None)


@pytest.mark.parametrize(
    "name",
    [
        "fire_service.py",
        "torchserve_fire.py",
        BUNDLE_FILE,
        SIGNATURE_FILE,
        "tiny_net.py",
        "model-config.yaml",
    ],
)
def test_extra_files_take_nobodys_place(
    inputs: ArchiveInputs, out: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "extra"
    folder.mkdir()
    (folder / name).write_text("")
    refused(inputs, out, f"the archive's {name} comes from", extra_files=str(folder / name))
    refused(inputs, out, f"the archive's {name} comes from", extra_files=str(folder))


def test_extra_files_do_not_overwrite_each_other(
    inputs: ArchiveInputs, out: Path, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "sub").mkdir(parents=True)
    refused(inputs, out, "sub comes from", extra_files=f"{tmp_path / 'a'},{tmp_path / 'b'}")
    refused(inputs, out, "no such file", extra_files=f"{tmp_path / 'a'}, {tmp_path / 'none*'}")


def test_missing_files_are_named(inputs: ArchiveInputs, out: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    refused(inputs, out, "--model-file .*missing", model_file=missing)
    refused(inputs, out, "--serialized-file .*missing", serialized_file=missing)
    refused(inputs, out, "missing", config_file=missing)
    refused(inputs, out, "missing", bundle=missing)
    refused(inputs, out, "--handler .*", handler=str(missing.with_suffix(".py")))
    with pytest.raises(FireError, match="expected the model store"):
        package_archive(inputs, missing)


def test_a_signed_archive_names_each_of_its_files(signed_archive: Path) -> None:
    verify_archive(signed_archive, [PUBLIC])
    packed = contents(signed_archive)
    document = packed.pop(SIGNATURE_FILE)
    files = {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()}
    assert document == sign_files("archive", files, KEY)


def test_what_could_not_be_signed_or_trusted_is_refused(
    inputs: ArchiveInputs, tiny: TinyFiles, out: Path, tmp_path: Path
) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("")
    for name in ("asking", "off"):
        (tmp_path / name).mkdir()
    asking = tiny.config(tmp_path / "asking", trusted_keys=[PUBLIC])
    off = tiny.config(tmp_path / "off", mode="off")
    unsigned = Path(shutil.copy(tiny.bundle, tmp_path / "unsigned.safetensors"))
    other = Path(shutil.copy(tiny.bundle, tmp_path / "other.safetensors"))
    sign_bundle(other, OTHER_KEY)
    for changes, options, match in (
        ({"requirements_file": requirements}, {"signing_key": KEY}, "takes no further file"),
        ({"config_file": asking}, {}, "trusted_keys: .*give --sign"),
        ({"config_file": asking}, {"signing_key": OTHER_KEY}, "would not serve: .* not trusted"),
        ({"config_file": off, "bundle": None}, {"trusted_keys": [PUBLIC]}, "there is no bundle"),
        ({"bundle": unsigned}, {"trusted_keys": [PUBLIC]}, "cannot read the bundle's signature"),
        ({"bundle": other}, {"trusted_keys": [PUBLIC]}, "which is not trusted"),
    ):
        with pytest.raises(FireError, match=match):
            package_archive(replace(inputs, **changes), out, **options)
        assert list(out.iterdir()) == []
