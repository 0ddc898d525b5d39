from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.handler.format.signed_version_1 import sign_version_1
from tests.keys import KEY, OTHER_KEY, OTHER_PUBLIC, PUBLIC
from tests.tiny import TinyFiles
from torchserve_fire.core.archive_signature import SIGNATURE_FILE, check_archive_folder
from torchserve_fire.errors import FireError, SignatureError
from torchserve_fire_build.deployment.archive.any_archive import version_of_manifest
from torchserve_fire_build.deployment.archive.load_as_worker import Body
from torchserve_fire_build.deployment.archive.next_archive import (
    Change,
    check_packed_here,
    must_be_signed,
    next_version,
    unpacked_with,
)
from torchserve_fire_build.deployment.archive.sign_archive import verify_archive


@pytest.mark.parametrize(
    ("version", "following"),
    [("1.0", "1.1"), ("1.9", "1.10"), ("2", "3"), ("1.0-rc1", "1.0-rc2"), ("v3b", "v4b")],
)
def test_the_last_number_is_increased(version: str, following: str) -> None:
    assert next_version(version) == following


def test_a_version_without_a_number() -> None:
    with pytest.raises(FireError, match="give --version"):
        next_version("stable")


def test_only_archives_of_this_project(tmp_path: Path) -> None:
    path = tmp_path / "m-1.0.mar"
    with pytest.raises(FireError, match="cannot read"):
        check_packed_here(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(FireError, match="damaged"):
        check_packed_here(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
    with pytest.raises(FireError, match="torchserve-fire repair makes one of this"):
        check_packed_here(path)


def test_it_is_tried_with_its_example_where_it_names_one(
    store: Path, tiny: TinyFiles, tmp_path: Path
) -> None:
    with unpacked_with(store / "tiny-1.0.mar", Change(tiny.other_bundle)) as unpacked:
        assert len(unpacked.bodies()) > 1
        config = unpacked.folder / "model-config.yaml"
        config.write_text(config.read_text() + "  example: one.txt\n")
        (unpacked.folder / "one.txt").write_bytes(b"a good film")
        assert unpacked.bodies() == [Body(b"a good film", "text/plain")]


def test_the_successor_of_a_signed_archive_is_signed(
    signed_archive: Path, tiny: TinyFiles, tmp_path: Path
) -> None:
    paths = tmp_path / "a.mar", tmp_path / "b.mar"
    with unpacked_with(signed_archive, Change(tiny.other_bundle), KEY) as unpacked:
        check_archive_folder(unpacked.folder, [PUBLIC])
        for path in paths:
            unpacked.write("1.1", path)
    verify_archive(paths[0], [PUBLIC])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert version_of_manifest(paths[0]) == "1.1"
    assert Change(tiny.other_bundle).is_made_in(paths[0])


def test_what_no_trusted_key_has_signed_gets_no_new_signature(
    signed_archive: Path, store: Path, tiny: TinyFiles, tmp_path: Path
) -> None:
    tampered = tmp_path / "tampered.mar"
    shutil.copy(signed_archive, tampered)
    with zipfile.ZipFile(tampered, "a") as packed:
        packed.writestr("shadow.py", "")
    for archive, key, match in (
        (tampered, KEY, r"tampered.mar: 'shadow.py': was added .*package the model with --sign"),
        (store / "tiny-1.0.mar", KEY, "the archive is not signed"),
        (signed_archive, OTHER_KEY, "which is not trusted"),
    ):
        with (
            pytest.raises(SignatureError, match=match),
            unpacked_with(archive, Change(tiny.other_bundle), key),
        ):
            pass
    # A new key may take over from one that is still trusted.
    with unpacked_with(signed_archive, Change(tiny.other_bundle), OTHER_KEY, [PUBLIC]) as unpacked:
        check_archive_folder(unpacked.folder, [OTHER_PUBLIC])


def test_an_archive_whose_handler_reads_no_envelope_gets_no_new_signature(
    signed_archive: Path, tiny: TinyFiles, tmp_path: Path
) -> None:
    old = tmp_path / "old.mar"
    with zipfile.ZipFile(signed_archive) as source, zipfile.ZipFile(old, "w") as target:
        files = {name: source.read(name) for name in source.namelist() if name != SIGNATURE_FILE}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        files[SIGNATURE_FILE] = sign_version_1("archive", digests, KEY)
        for name, content in files.items():
            target.writestr(name, content)
    with (
        pytest.raises(SignatureError, match=r"old.mar: signed in the form of version 1, .*--sign$"),
        unpacked_with(old, Change(tiny.other_bundle), KEY),
    ):
        pass


def test_which_archives_must_be_signed(signed_archive: Path, store: Path, tmp_path: Path) -> None:
    assert must_be_signed(signed_archive)
    assert not must_be_signed(store / "tiny-1.0.mar")
    # Without its signature, its configuration still asks for one.
    stripped = tmp_path / "stripped.mar"
    with zipfile.ZipFile(signed_archive) as source, zipfile.ZipFile(stripped, "w") as target:
        for name in source.namelist():
            if name != SIGNATURE_FILE:
                target.writestr(name, source.read(name))
    assert must_be_signed(stripped)


def test_another_mode_in_an_archive(store: Path, tiny: TinyFiles, tmp_path: Path) -> None:
    old, new = store / "tiny-1.0.mar", tmp_path / "tiny-1.1.mar"
    with unpacked_with(old, Change(mode="observe")) as unpacked:
        assert unpacked.mode == "observe"
        unpacked.write("1.1", new)
    with zipfile.ZipFile(old) as before, zipfile.ZipFile(new) as after:
        values = [yaml.safe_load(packed.read("model-config.yaml")) for packed in (before, after)]
    assert [each["handler"].pop("mode") for each in values] == ["repair", "observe"]
    assert values[0] == values[1]
    assert Change(tiny.bundle).is_made_in(old)
    assert Change(tiny.bundle).is_made_in(new)


@pytest.mark.parametrize(
    ("bundle", "mode", "made"),
    [
        ("bundle", None, True),
        ("bundle", "repair", True),
        (None, "repair", True),
        ("bundle", "observe", False),
        ("other_bundle", "repair", False),
        (None, "observe", False),
    ],
)
def test_whether_a_change_is_made_already(
    store: Path, tiny: TinyFiles, bundle: str | None, mode: str | None, made: bool
) -> None:
    change = Change(bundle and getattr(tiny, bundle), mode)
    assert change.is_made_in(store / "tiny-1.0.mar") is made
