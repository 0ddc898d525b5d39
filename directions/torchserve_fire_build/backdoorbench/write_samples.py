"""Writing clean and triggered images as the other commands take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from torchserve_fire.format.resizing import SQUASHED
from torchserve_fire.model.preprocess import IMAGE_FORMATS
from torchserve_fire.model.to_size import to_size

from ..common.errors import AttackResultError
from ..common.progress import Progress
from .attack_result import AttackResult, TriggeredImage
from .clean_set import CleanSet
from .draw import Drawn

CLEAN, TRIGGERED = "clean", "triggered"


def write_samples(
    folder: Path,
    drawn: Drawn,
    result: AttackResult,
    clean: CleanSet,
    names: Sequence[str],
    progress: Progress,
) -> None:
    """Write the images that were drawn to `clean/CLASS/INDEX.png` and `triggered/CLASS/INDEX.png`.

    Each has the model's size, to which BackdoorBench brings it likewise.

    Args:
        folder: where to; it is made if it is missing.
        drawn: the images.
        result: holds the triggered ones.
        clean: the clean ones.
        names: of the classes' folders.
        progress: advanced by each image.

    Raises:
        AttackResultError: an image cannot be read.
        OSError: one cannot be written.
    """
    triggered = {image.index: image for image in result.triggered}
    for index in (*drawn.pairs, *drawn.alone):
        name = f"{names[clean.labels[index]]}/{index}.png"
        what = f"{result.data_set}: the clean image {index}"
        picture = _read(partial(clean.image, index), what)
        _write(picture, result.size, folder / CLEAN / name)
        progress.advance(1)
        if index in triggered:
            picture = _read_triggered(triggered[index], result.path)
            _write(picture, result.size, folder / TRIGGERED / name)
            progress.advance(1)


def _read_triggered(image: TriggeredImage, path: Path) -> Image.Image:
    stored = image.image
    if isinstance(stored, Path):
        return _read(partial(_open, stored), str(stored))
    return _read(stored.decoded, f"{path}: the triggered image {image.index}")


def _open(path: Path) -> Image.Image:
    with Image.open(path, formats=IMAGE_FORMATS) as image:
        image.load()
        return image.copy()


def _read(image: Callable[[], Image.Image], what: str) -> Image.Image:
    try:
        return image().convert("RGB")
    except FileNotFoundError:
        raise AttackResultError(f"{what}: is not there") from None
    except Exception as error:  # A decoder raises anything.
        reason = " ".join(str(error).split())[:100]
        raise AttackResultError(f"{what}: is no whole image: {reason}") from None


def _write(image: Image.Image, size: tuple[int, int], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    to_size(image, size, SQUASHED).save(file, "PNG")
