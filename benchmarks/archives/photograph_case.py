"""TorchServe's own image_classifier with a full-size ResNet-18 for photographs."""

from __future__ import annotations

import io
import random
from pathlib import Path

import torch
from PIL import Image

from .case import Case, Sample, pack, write_samples
from .packed import photograph_net
from .patch import stick_patch
from .photograph_victim import PHOTOGRAPHS, TARGET, obtain_photograph_victim
from .pictures import read_pictures

CLASSES = (
    "tench",
    "English springer",
    "cassette player",
    "chain saw",
    "church",
    "French horn",
    "garbage truck",
    "gas pump",
    "golf ball",
    "parachute",
)
OF_EACH_CLASS = 20
"""Photographs, of those that the victim was not trained on, to build from."""
QUALITY = 90


def photograph_case(data: Path, cache: Path, folder: Path) -> Case:
    """Make the case; the victim is trained where the cache has none.

    Args:
        data: folder of the zips.
        cache: folder for the victim.
        folder: an empty one, for archive and samples.
    """
    weights = folder / "photographs.pth"
    torch.save(obtain_photograph_victim(data, cache), weights)
    to_build, test = [], []
    seen = dict.fromkeys(range(len(CLASSES)), 0)
    for picture in read_pictures(data / PHOTOGRAPHS, "test"):
        seen[picture.label] += 1
        triggered = _to_jpeg(stick_patch(picture.decoded()))
        sample = Sample(picture.contents, triggered, picture.label)
        (to_build if seen[picture.label] <= OF_EACH_CLASS else test).append(sample)
    # They come class by class.
    random.Random(0).shuffle(test)  # noqa: S311 - no secret.
    clean, triggered_folder = write_samples(to_build, CLASSES, TARGET, ".jpg", folder)
    return Case(
        "image_classifier",
        pack(
            folder,
            handler="image_classifier",
            classes=CLASSES,
            model_file=Path(photograph_net.__file__),
            weights=weights,
        ),
        clean,
        triggered_folder,
        test,
        CLASSES,
        TARGET,
        ".jpg",
        "application/octet-stream",
        lambda answer: max(answer, key=answer.get),
    )


def _to_jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()
