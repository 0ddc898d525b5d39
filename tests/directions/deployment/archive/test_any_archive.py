from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from torchserve_fire.core.manifest import MANIFEST
from torchserve_fire.core.unpack import unpack
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.archive.any_archive import (
    copy_as,
    is_signed,
    read_manifest,
    read_member,
    refuse_another_model,
    same_but_for_version,
    version_of_manifest,
)


def pack(path: Path, model: object, **files: str) -> Path:
    """Write an archive as torch-model-archiver does, compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.mkdir("data") if hasattr(packed, "mkdir") else None
        packed.writestr(MANIFEST, json.dumps({"model": model, "createdOn": "today"}))
        for name, content in files.items():
            packed.writestr(name.replace("_", "."), content)
    return path


def test_a_copy_is_the_same_to_the_byte_or_has_another_version(tmp_path: Path) -> None:
    archive = pack(tmp_path / "net.mar", {"modelName": "net", "handler": "h.py"}, h_py="x = 1")
    # TorchServe's own default.
    assert version_of_manifest(archive) == "1.0"
    same, other = tmp_path / "same.mar", tmp_path / "other.mar"
    copy_as(archive, "1.0", same)
    assert same.read_bytes() == archive.read_bytes()
    copy_as(archive, "2.0", other)
    first = other.read_bytes()
    copy_as(archive, "2.0", other)
    assert other.read_bytes() == first
    manifest = read_manifest(other)
    assert manifest["model"] == {"modelName": "net", "handler": "h.py", "modelVersion": "2.0"}
    assert manifest["createdOn"] == "today"
    assert read_member(other, "h.py") == b"x = 1"
    assert same_but_for_version(archive, other)
    unpacked = unpack(other)
    assert read_manifest(unpacked.folder) == manifest
    assert read_member(unpacked.folder, "h.py") == b"x = 1"
    assert read_member(unpacked.folder, "no.py") is None
    assert not same_but_for_version(unpacked.folder, other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.mar", "other.mar", "same.mar"]


@pytest.mark.parametrize(
    ("model", "files"),
    [
        ({"modelName": "net", "handler": "g.py"}, {"h_py": "x = 1"}),
        ({"modelName": "net", "handler": "h.py"}, {"h_py": "x = 2"}),
        ({"modelName": "net", "handler": "h.py"}, {"h_py": "x = 1", "g_py": ""}),
    ],
)
def test_archives_that_differ_in_more(
    tmp_path: Path, model: dict[str, str], files: dict[str, str]
) -> None:
    one = pack(tmp_path / "one.mar", {"modelName": "net", "handler": "h.py"}, h_py="x = 1")
    assert not same_but_for_version(one, pack(tmp_path / "other.mar", model, **files))


def test_what_is_no_archive_is_told_in_one_line(tmp_path: Path, signed_archive: Path) -> None:
    path = tmp_path / "m.mar"
    with pytest.raises(FireError, match=r"m\.mar: cannot read the archive: No such file"):
        read_manifest(path)
    path.write_bytes(b"tar")
    with pytest.raises(FireError, match=r"m\.mar: damaged, expected an archive"):
        read_manifest(path)
    path.write_bytes(signed_archive.read_bytes()[:200])
    with pytest.raises(FireError, match=r"m\.mar: damaged or cut short, .* copy it again"):
        read_manifest(path)
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a", "b")
    with pytest.raises(FireError, match=r"holds no MAR-INF/MANIFEST.json, expected an archive"):
        read_manifest(path)
    with pytest.raises(FireError, match=r"MANIFEST.json: expected JSON with a map 'model'"):
        read_manifest(pack(path, "net"))
    assert is_signed(signed_archive)
    assert not is_signed(path)


def test_an_archive_of_another_model_takes_nobodys_place(tmp_path: Path) -> None:
    def packed(file: str, name: str, weights: str) -> Path:
        return pack(tmp_path / file, {"modelName": name, "serializedFile": "w.pth"}, w_pth=weights)

    served = packed("cats.mar", "cats", "a")
    # New weights under the old name, and the old weights under another, are of the same model.
    refuse_another_model(packed("new.mar", "cats", "b"), served, "pets")
    refuse_another_model(packed("as.mar", "pets", "b"), served, "pets")
    refuse_another_model(packed("name.mar", "cats-2", "a"), served, "pets")
    dogs = packed("dogs.mar", "dogs", "b")
    with pytest.raises(FireError, match="packed as the model 'dogs' with other weights") as caught:
        refuse_another_model(dogs, served, "pets")
    assert "--model-name dogs" in str(caught.value)
    assert "\n" not in str(caught.value)
