"""Unpacking an archive in any form that torch-model-archiver writes."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import FireError
from ..model.timm_model import is_timm
from .cut_short import CUT_SHORT, begins_as_zip
from .manifest import DEFAULT_VERSION, MANIFEST


@dataclass(frozen=True)
class Unpacked:
    """An archive, unpacked.

    Attributes:
        source: the archive's file or folder, for messages.
        folder: where its files are. Nothing is written there, and nothing of it runs there.
        manifest: what stands in its `MANIFEST.json`.
    """

    source: Path
    folder: Path
    manifest: Mapping[str, Any]
    _temporary: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @property
    def model(self) -> Mapping[str, Any]:
        """What its manifest says of the model: name, version, handler, and the names of files."""
        model: Mapping[str, Any] = self.manifest["model"]
        return model

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.model.get("modelName") or self.source.stem)

    @property
    def version(self) -> str:
        """The model's version."""
        return str(self.model.get("modelVersion") or DEFAULT_VERSION)

    @property
    def handler(self) -> str:
        """The handler as TorchServe's loader takes it: FILE, FILE:FUNCTION, or a name."""
        return str(self.model["handler"])

    @property
    def is_fresh(self) -> bool:
        """Whether it was unpacked here, so that nothing of it has run there before."""
        return self._temporary is not None

    def file(self, key: str) -> Path | None:
        """Return a file that the manifest names, None where it names none.

        A model of timm is named in the place of a file, and returned as `load_model` takes it.

        Raises:
            FireError: the archive does not hold it.
        """
        name = self.model.get(key)
        if not name:
            return None
        if is_timm(str(name)):
            return Path(name)
        path = self.folder / str(name)
        inside = path.resolve().is_relative_to(self.folder.resolve())
        if not inside or not path.is_file():
            raise FireError(f"{self.source}: its manifest names {key}: {name}, which is not in it")
        return path

    def remove(self) -> None:
        """Delete what was unpacked here, now; a folder that was given stays."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def copy_to_run(self) -> Unpacked:
        """Return a copy in a temporary folder, for code that may write into the folder it runs in.

        Raises:
            FireError: there is no room for it.
        """
        temporary = tempfile.TemporaryDirectory(prefix="fire-archive-")
        # Modules are known by their files' whole paths.
        folder = Path(temporary.name).resolve()
        try:
            copy_files(self.folder, folder)
        except BaseException:
            temporary.cleanup()
            raise
        return replace(self, folder=folder, _temporary=temporary)


def unpack(archive: Path) -> Unpacked:
    """Unpack an archive into a temporary folder, which goes when nothing refers to it any more.

    Args:
        archive: a `.mar`, a `.tar.gz` of the same, or an unpacked archive's folder.

    Raises:
        FireError: it is none of these, or is damaged.
    """
    if archive.is_dir():
        return _with_manifest(archive, archive, None)
    if not archive.exists():
        raise FireError(
            f"{archive}: no such file, expected an archive (.mar), or the folder of one"
        )
    temporary = tempfile.TemporaryDirectory(prefix="fire-archive-")
    try:
        return _with_manifest(archive, _extract(archive, Path(temporary.name)), temporary)
    except BaseException:
        temporary.cleanup()
        raise


def _extract(archive: Path, folder: Path) -> Path:
    """Extract an archive's file into a folder; return the folder in which its files are then.

    Raises:
        FireError: it is no archive, or is damaged.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                # The reader leaves out what would lead out of the folder.
                packed.extractall(folder)  # noqa: S202
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as packed_tar:
                # Members that lead out of the folder, and special files, are refused.
                packed_tar.extractall(folder, filter="data")
        elif begins_as_zip(archive):
            raise FireError(f"{archive}: {CUT_SHORT}")
        else:
            raise FireError(
                f"{archive}: is no archive, expected a .mar that torch-model-archiver or "
                "torchserve-fire has packed, or a folder with its files"
            )
    except FireError:
        raise
    except Exception as error:  # On a crafted file, both readers raise many kinds.
        raise FireError(f"{archive}: cannot be unpacked: {error or type(error).__name__}") from None
    inner = [path for path in folder.iterdir() if path.is_dir()]
    if not (folder / MANIFEST).is_file() and len(inner) == 1 and (inner[0] / MANIFEST).is_file():
        return inner[0]  # A .tar.gz holds a folder of the model's name.
    return folder


def _with_manifest(
    source: Path, folder: Path, temporary: tempfile.TemporaryDirectory[str] | None
) -> Unpacked:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest["model"]["handler"], str):
            raise TypeError
    except FileNotFoundError:
        raise FireError(
            f"{source}: holds no {MANIFEST}: is damaged or cut short (copy it again), or no "
            "archive of TorchServe"
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise FireError(
            f"{source}: {MANIFEST}: expected a JSON object with 'model' and its 'handler'"
        ) from None
    return Unpacked(source, folder, manifest, temporary)


def copy_files(folder: Path, target: Path) -> None:
    """Copy the files of an unpacked archive into a folder.

    Raises:
        FireError: one cannot be read or written.
    """
    try:
        shutil.copytree(folder, target, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
        raise FireError(f"{folder}: cannot be copied: {reason}") from None
