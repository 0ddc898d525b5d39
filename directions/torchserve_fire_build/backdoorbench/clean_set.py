"""The clean test images of a data set, in the order in which BackdoorBench counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class CleanSet:
    """Clean test images.

    Attributes:
        labels: the class of each image.
        image: returns the image of an index, at its own size; raises OSError where it cannot.
        names: what the classes are called; empty where they have no names.
    """

    labels: Sequence[int]
    image: Callable[[int], Image.Image]
    names: Sequence[str] = ()
