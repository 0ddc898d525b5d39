"""The files of samples: where they lie, what they are called, and what class they are of."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, overload

from PIL import Image
from torch import Tensor

from torchserve_fire.model.preprocess import IMAGE_FORMATS
from torchserve_fire.model.request_body import RequestBody

from ..common.errors import SamplesError

NO_SAMPLES = ("__macosx", "thumbs.db", "desktop.ini", "@eadir", "__pycache__")
"""What systems and archivers leave in folders, beside what is hidden by a dot; in lower case."""

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
"""What torchvision's ImageFolder reads, and GIF. Such a file is an image, or a damaged one, which
is refused when it is read. The list is copied: importing torchvision takes two seconds."""

SHOWN = 3
"""Files that a message names."""


@dataclass(frozen=True)
class SampleFiles:
    """Files of samples.

    Attributes:
        source: the folder, or the list, that they come from.
        paths: where each lies, (N,).
        names: what each is called: its path below the folder. Files of the same name are pairs.
        class_names: the class of each by its name; None if that is unknown.
        labels: the class of each by its index, (N,) int64; None if that is unknown.
        others: files of the folder that are no images, relative to it.
    """

    source: Path
    paths: Sequence[Path]
    names: Sequence[str]
    class_names: Sequence[str] | None = None
    labels: Tensor | None = None
    others: Sequence[str] = ()
    numbered: ClassVar[bool] = False

    def body(self, index: int) -> RequestBody:
        """Return a file as the body of a request.

        Raises:
            SamplesError: it cannot be read.
        """
        return read_body_file(self.paths[index])

    def place(self, index: int) -> str:
        """Return where a file lies, for messages."""
        return str(self.paths[index])

    def passed_over(self) -> str:
        """Return in words which files are no images; empty if there are none."""
        count = len(self.others)
        if not count:
            return ""
        shown = ", ".join(self.others[:SHOWN]) + (", ..." if count > SHOWN else "")
        what = "1 file that is no image" if count == 1 else f"{count} files that are no images"
        return f"{what} of the formats {', '.join(IMAGE_FORMATS)} ({shown})"


class PathsBelow(Sequence[Path]):
    """The paths of files below a folder, made when they are asked for: only names are kept.

    Args:
        folder: where they lie.
        names: their paths below it.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        """Return a path, or those of a slice."""
        if isinstance(index, slice):
            return [self._folder / name for name in self._names[index]]
        return self._folder / self._names[index]


def read_body_file(file: Path) -> RequestBody:
    """Return a file as the body of a request.

    Raises:
        SamplesError: it cannot be read.
    """
    try:
        return RequestBody(file.read_bytes(), file.suffix.lower())
    except OSError as error:
        raise SamplesError(f"{file}: {error.strerror}") from None


def is_left_out(name: str) -> bool:
    """Return whether a file or folder of this name holds no samples, whatever is in it."""
    return name.startswith(".") or name.lower() in NO_SAMPLES


def class_folders(folder: Path) -> list[str]:
    """Return the names of the folders of classes, empty ones too, sorted."""
    return sorted(x.name for x in folder.iterdir() if x.is_dir() and not is_left_out(x.name))


def images_in(folder: Path) -> SampleFiles:
    """Find the images of a folder, which has one subfolder per class, or none.

    What an extension does not call an image is one if its first bytes say so.

    Args:
        folder: links in it are followed, as by ImageFolder.

    Raises:
        SamplesError: the folder holds no image, or it holds both images and folders of images.
    """
    images: list[Path] = []
    others: list[str] = []
    for file in _visible_files(folder):
        if _is_image(folder, file):
            images.append(file)
        else:
            others.append(file.as_posix())
    found = _in_folder(folder, images, others)
    if not images:
        among = f", beside {found.passed_over()}" if others else ""
        raise SamplesError(
            f"{folder}: expected images ({', '.join(IMAGE_FORMATS)}), found none{among}"
        )
    return found


def bodies_in(folder: Path) -> SampleFiles:
    """Find the files of a folder, each the body of a request, whatever is in it.

    Args:
        folder: with one subfolder per class, or none.

    Raises:
        SamplesError: the folder holds no file, or it holds both files and folders of files.
    """
    files = _visible_files(folder)
    if not files:
        raise SamplesError(f"{folder}: expected files with the bodies of requests, found none")
    return _in_folder(folder, files)


def files_named(paths: Sequence[Path]) -> SampleFiles:
    """Return files that are named one by one, each called by its path."""
    return SampleFiles(Path(), paths, [str(path) for path in paths])


def _in_folder(folder: Path, files: Sequence[Path], others: Sequence[str] = ()) -> SampleFiles:
    """Return files of a folder, by their paths relative to it.

    Raises:
        SamplesError: some lie in the folder itself, and some deeper.
    """
    names = [file.as_posix() for file in files]
    flat = [file for file in files if len(file.parts) == 1]
    if flat and len(flat) < len(files):
        deep = next(file for file in files if len(file.parts) > 1)
        raise SamplesError(
            f"{folder}: expected samples in one subfolder per class, or all in the folder "
            f"itself; found both, {flat[0]} and {deep}"
        )
    return SampleFiles(
        folder,
        PathsBelow(folder, names),
        names,
        None if flat else [file.parts[0] for file in files],
        others=others,
    )


def _visible_files(folder: Path) -> list[Path]:
    """Return the paths of files below a folder, relative to it, sorted."""
    files = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not is_left_out(name)]
        inside = Path(place).relative_to(folder)
        # Of a large pool, a path object for each question would take seconds.
        files += [
            inside / name
            for name in names
            if not is_left_out(name) and os.path.isfile(os.path.join(place, name))  # noqa: PTH113, PTH118
        ]
    # As paths compare, whose parts would be taken again for each comparison.
    return sorted(files, key=lambda file: file.parts)


def _is_image(folder: Path, file: Path) -> bool:
    if file.suffix.lower() in EXTENSIONS:
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # It reads the header alone.
            Image.open(folder / file, formats=IMAGE_FORMATS).close()
    except Exception:  # Whatever a decoder raises on bytes that are none of its own.
        return False
    return True
