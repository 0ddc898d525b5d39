"""The data sets of the benchmark: of each, the victims that are trained on it.

To add one takes a name, its number of classes, how documents call it, and recipes. Its images are a
folder, or a zip of one, with `train/CLASS/*` and `test/CLASS/*`.
`python -m benchmarks.run --data-set NAME --data ZIP` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .catalogue import VICTIMS
from .recipe import BriefRecipe, Recipe

CIFAR, SIGNS, TINY = "cifar10", "gtsrb", "tiny-imagenet"


@dataclass(frozen=True)
class DataSet:
    """Images, and the victims that are trained on them.

    Attributes:
        title: how documents call it.
        classes: number of classes.
        victims: their recipes.
    """

    title: str
    classes: int
    victims: tuple[Recipe, ...]


def of_signs(architecture: str, attack: str | None, seed: int) -> BriefRecipe:
    """Return a recipe for traffic signs, which mean something else when they are mirrored."""
    epochs = 16 if architecture == "convnext" else 8
    return BriefRecipe(architecture, attack, seed, epochs, mirrored=False)


DATA_SETS: Mapping[str, DataSet] = {
    CIFAR: DataSet("CIFAR-10, 32 pixels", 10, VICTIMS),
    SIGNS: DataSet(
        "GTSRB, 32 pixels",
        43,
        (
            of_signs("resnet", "badnets", 1),
            of_signs("mobilenet", "badnets", 1),
            of_signs("convnext", "badnets", 2),
            of_signs("vgg", "blended", 1),
            of_signs("mobilenet", "low_frequency", 2),
            of_signs("resnet", "bpp", 1),
        ),
    ),
    TINY: DataSet("Tiny-ImageNet, 64 pixels", 200, (BriefRecipe("resnet", "blended", 1, 6),)),
}
"""By the name of the folder that holds the results."""
