"""An archive's successor: the same files with another bundle and version."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from handler.bundle import BUNDLE_FILE, InputDescription, load_bundle
from handler.errors import FireError

from .archive import MANIFEST, write_reproducibly


@dataclass(frozen=True)
class UnpackedArchive:
    """An archive with another bundle in it, unpacked.

    Attributes:
        folder: where.
        digest: SHA-256 of its bundle's file.
        input: what its model takes.
    """

    folder: Path
    digest: str
    input: InputDescription

    def write(self, version: str, target: Path) -> None:
        """Write it as an archive of a version."""
        manifest = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        manifest["model"]["modelVersion"] = version
        (self.folder / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        with tempfile.TemporaryDirectory(prefix="fire-swap-") as temporary:
            packed = Path(temporary) / target.name
            with zipfile.ZipFile(packed, "w") as archive:
                for path in sorted(self.folder.rglob("*")):
                    if path.is_file():
                        archive.write(path, path.relative_to(self.folder).as_posix())
            write_reproducibly(packed, target)


@contextmanager
def unpacked_with(archive: Path, bundle: Path) -> Iterator[UnpackedArchive]:
    """Unpack an archive into a temporary folder, with `bundle` in the place of its own.

    Raises:
        FireError: the archive or the bundle cannot be read, or it was not packed by this project.
    """
    described = load_bundle(bundle)
    check_packed_here(archive)
    with tempfile.TemporaryDirectory(prefix="fire-swap-") as temporary:
        folder = Path(temporary)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        # Read once and checked above; copied by its bytes, by whose digest it is known.
        (folder / BUNDLE_FILE).write_bytes(bundle.read_bytes())
        yield UnpackedArchive(folder, described.digest, described.input)


def check_packed_here(archive: Path) -> None:
    """Refuse a file that is not an archive of this project.

    Raises:
        FireError: it is missing, damaged, or has no bundle in it.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            names = set(packed.namelist())
    except OSError as error:
        raise FireError(f"{archive}: cannot read the archive: {error.strerror}") from None
    except zipfile.BadZipFile:
        raise FireError(f"{archive}: damaged, expected an archive (.mar)") from None
    if not {MANIFEST, BUNDLE_FILE} <= names:
        raise FireError(
            f"{archive}: holds no {BUNDLE_FILE}: only an archive that torchserve-fire packed with "
            "a bundle can get another one; package this model with --bundle instead"
        )


def version_of(archive: Path) -> str:
    """Return the version that an archive's manifest names."""
    with zipfile.ZipFile(archive) as packed:
        return str(json.loads(packed.read(MANIFEST))["model"].get("modelVersion"))


def bundle_digest_of(archive: Path) -> str:
    """Return the SHA-256 of the bundle in an archive."""
    with tempfile.TemporaryDirectory() as temporary, zipfile.ZipFile(archive) as packed:
        return load_bundle(packed.extract(BUNDLE_FILE, temporary)).digest


def differ_only_in_bundle(one: Path, other: Path) -> bool:
    """Whether two archives hold the same files but for the bundle and the manifest."""
    contents = []
    for archive in (one, other):
        with zipfile.ZipFile(archive) as packed:
            contents.append(
                {
                    entry.filename: (entry.CRC, entry.file_size)
                    for entry in packed.infolist()
                    if entry.filename not in (MANIFEST, BUNDLE_FILE)
                }
            )
    return contents[0] == contents[1]


def next_version(version: str) -> str:
    """Return the version with its last number increased by one.

    Raises:
        FireError: it has no number.

    Example:
        >>> next_version("1.9")
        '1.10'
    """
    numbers = list(re.finditer(r"\d+", version))
    if not numbers:
        raise FireError(f"version {version!r} has no number to increase: give --version")
    start, end = numbers[-1].span()
    return f"{version[:start]}{int(version[start:end]) + 1}{version[end:]}"
