"""Unpacking an archive in any form that torch-model-archiver writes."""

from __future__ import annotations

import json
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchserve_fire.errors import FireError
from torchserve_fire.model.timm_model import is_timm

from .archive_name import MANIFEST


@dataclass(frozen=True)
class Unpacked:
    """An archive, unpacked.

    Attributes:
        source: the archive's file or folder, for messages.
        folder: where its files are. Nothing is written there.
        model: what its manifest says of the model: `modelName`, `handler`, `modelVersion`, and the
            names of files.
    """

    source: Path
    folder: Path
    model: Mapping[str, Any]
    _temporary: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.model.get("modelName", self.source.stem))

    @property
    def version(self) -> str:
        """The model's version."""
        return str(self.model.get("modelVersion", "1.0"))

    @property
    def handler(self) -> str:
        """The handler as TorchServe's loader takes it: FILE, FILE:FUNCTION, or a name."""
        return str(self.model["handler"])

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
        if not path.is_file():
            raise FireError(f"{self.source}: its manifest names {key}: {name}, which is not in it")
        return path


def unpack(archive: Path) -> Unpacked:
    """Unpack an archive into a temporary folder, which goes when nothing refers to it any more.

    Args:
        archive: a `.mar`, a `.tar.gz` of the same, or an unpacked archive's folder.

    Raises:
        FireError: it is none of these, or is damaged.
    """
    if archive.is_dir():
        return _with_manifest(archive, archive, None)
    temporary = tempfile.TemporaryDirectory(prefix="fire-archive-")
    folder = Path(temporary.name)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                # The reader leaves out what would lead out of the folder.
                packed.extractall(folder)  # noqa: S202
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as packed_tar:
                # Members that lead out of the folder, and special files, are refused.
                packed_tar.extractall(folder, filter="data")
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
        folder = inner[0]  # A .tar.gz holds a folder of the model's name.
    return _with_manifest(archive, folder, temporary)


def _with_manifest(
    source: Path, folder: Path, temporary: tempfile.TemporaryDirectory[str] | None
) -> Unpacked:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        model = dict(manifest["model"])
        model["handler"]
    except FileNotFoundError:
        raise FireError(
            f"{source}: holds no {MANIFEST}, expected an archive of TorchServe"
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise FireError(
            f"{source}: {MANIFEST}: expected a JSON object with 'model' and its 'handler'"
        ) from None
    return Unpacked(source, folder, model, temporary)
