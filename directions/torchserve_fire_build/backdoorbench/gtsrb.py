"""The test images of GTSRB, whole frames, as their authors list them."""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image

from ..common.errors import AttackResultError
from .clean_set import CleanSet


def read_gtsrb(file: Path) -> CleanSet:
    """Read `GT-final_test.csv`, beside which the images lie.

    Raises:
        AttackResultError: it is none.
    """
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter=";"))
        names = [row["Filename"] for row in rows]
        labels = [int(row["ClassId"]) for row in rows]
    except (KeyError, TypeError, ValueError, csv.Error):
        raise AttackResultError(
            f"{file}: expected a table with the columns Filename and ClassId, separated by "
            "semicolons, as GTSRB_Final_Test_GT.zip holds it"
        ) from None

    def image(index: int) -> Image.Image:
        return _open(file.parent / names[index])

    return CleanSet(labels, image)


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
