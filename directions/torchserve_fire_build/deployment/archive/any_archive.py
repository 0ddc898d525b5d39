"""Archives of TorchServe, whoever packed them: what they hold, and copies of another version."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torchserve_fire.core.archive_signature import SIGNATURE_FILE
from torchserve_fire.core.cut_short import CUT_SHORT, begins_as_zip
from torchserve_fire.core.manifest import DEFAULT_VERSION, MANIFEST
from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import check_writable

from .reproducible_zip import write_reproducibly


def read_manifest(archive: Path) -> dict[str, Any]:
    """Return the manifest of an archive.

    Args:
        archive: a `.mar`, or a folder with what one holds.

    Raises:
        FireError: it cannot be read, or is no archive of TorchServe.
    """
    content = read_member(archive, MANIFEST)
    if content is None:
        raise FireError(
            f"{archive}: holds no {MANIFEST}, expected an archive (.mar) of torch-model-archiver"
        )
    try:
        manifest = json.loads(content)
        if not isinstance(manifest["model"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise FireError(f"{archive}: {MANIFEST}: expected JSON with a map 'model'") from None
    return dict(manifest)


def read_member(archive: Path, name: str) -> bytes | None:
    """Return one file of an archive or an unpacked one, None where it has no such file.

    Raises:
        FireError: the archive cannot be read.
    """
    if archive.is_dir():
        path = archive / name
        return path.read_bytes() if path.is_file() else None
    with _opened(archive) as packed:
        return packed.read(name) if name in packed.namelist() else None


def version_of_manifest(archive: Path) -> str:
    """Return the version under which TorchServe registers an archive."""
    return str(read_manifest(archive)["model"].get("modelVersion") or DEFAULT_VERSION)


def is_signed(archive: Path) -> bool:
    """Whether an archive carries a signature of this project's."""
    return read_member(archive, SIGNATURE_FILE) is not None


def copy_as(archive: Path, version: str, target: Path) -> None:
    """Write an archive to a file, to the byte where it has this version already.

    The target is replaced in one step.

    Raises:
        FireError: it cannot be read or written.
    """
    if version == version_of_manifest(archive):
        _copy(archive, target)
        return
    manifest = read_manifest(archive)
    manifest["model"]["modelVersion"] = version
    with tempfile.TemporaryDirectory(prefix="fire-version-") as temporary:
        packed = Path(temporary) / target.name
        with _opened(archive) as source, zipfile.ZipFile(packed, "w") as destination:
            for entry in source.infolist():
                if entry.is_dir() or entry.filename == MANIFEST:
                    continue
                with source.open(entry) as reader, destination.open(entry.filename, "w") as writer:
                    shutil.copyfileobj(reader, writer, 1 << 20)
            destination.writestr(MANIFEST, json.dumps(manifest, indent=2))
        write_reproducibly(packed, target)


def same_but_for_version(one: Path, other: Path) -> bool:
    """Whether two archives hold the same files, but for the version in their manifests."""
    if one.is_dir() or other.is_dir():
        return False
    found = []
    for archive in (one, other):
        manifest = read_manifest(archive)
        manifest["model"].pop("modelVersion", None)
        with _opened(archive) as packed:
            files = {
                entry.filename: (entry.CRC, entry.file_size)
                for entry in packed.infolist()
                if not entry.is_dir() and entry.filename != MANIFEST
            }
        found.append((manifest, files))
    return found[0] == found[1]


def refuse_another_model(archive: Path, served: Path, name: str) -> None:
    """Refuse an archive that was packed as another model than the one in whose place it would come.

    It may have new weights or a new name: only both at once make it another model.

    Args:
        archive: the new archive.
        served: the archive that is served.
        name: the name under which it is served.

    Raises:
        FireError: both differ.
    """
    new, old = (read_manifest(one)["model"] for one in (archive, served))
    packed_as = new.get("modelName")
    if packed_as in (name, old.get("modelName")):
        return
    if _weights(archive, new) != _weights(served, old):
        raise FireError(
            f"{archive}: was packed as the model {packed_as!r} with other weights than {name!r} "
            f"has, which is served from {served.name}: give --model-name {packed_as}, or, if it "
            f"shall take the place of {name!r}, pack it with that --model-name"
        )


def _weights(archive: Path, model: dict[str, Any]) -> bytes | None:
    file = model.get("serializedFile")
    return None if file is None else read_member(archive, str(file))


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as packed:
            yield packed
    except OSError as error:
        raise FireError(f"{archive}: cannot read the archive: {error.strerror}") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        # Damaged, compressed in a way that Python does not know, or encrypted.
        said = CUT_SHORT if begins_as_zip(archive) else "damaged, expected an archive (.mar)"
        raise FireError(f"{archive}: {said}") from None


def _copy(source: Path, target: Path) -> None:
    check_writable(target)
    try:
        with tempfile.NamedTemporaryFile(
            prefix=f".{target.name}.", suffix=".tmp", dir=target.parent, delete=False
        ) as file:
            temporary = Path(file.name)
        try:
            shutil.copyfile(source, temporary)
            temporary.chmod(0o644)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise FireError(f"{target}: cannot be written: {error.strerror}") from None
