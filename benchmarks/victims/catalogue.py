"""The victims that the benchmark measures: most attacks on two architectures or more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .recipe import Recipe

VICTIMS = tuple(
    Recipe(architecture, attack)
    for architecture, attack in (
        ("vgg", "badnets_anywhere"),
        ("preact_resnet", "wanet"),
        ("vgg", "bpp"),
        ("resnet", "sig"),
        ("preact_resnet", "two_triggers"),
        ("vgg", "input_aware"),
        ("mobilenet", "low_frequency"),
        ("convnext", "blended"),
        ("vit", "badnets"),
        ("resnet", "badnets_all_to_all"),
        ("vgg", "wanet"),
        ("mobilenet", "badnets_anywhere"),
        ("preact_resnet", "blended"),
        ("vgg", "sig"),
        ("convnext", "low_frequency"),
        ("resnet", "bpp"),
        ("preact_resnet", "input_aware"),
        ("mobilenet", "badnets"),
        ("vit", "two_triggers"),
        ("convnext", "sig"),
        ("vgg", "badnets_all_to_all"),
        ("vit", "blended"),
        ("resnet", "badnets"),
        ("resnet", "adaptive_blend"),
        ("resnet", "adaptive_patch"),
        ("resnet", "tact"),
        ("resnet", "photo_filter"),
        ("resnet", "rotation"),
    )
)


def benign_twin(recipe: Recipe) -> Recipe:
    """Return the recipe of the same architecture, trained on images that nobody poisoned."""
    return replace(recipe, attack=None)


def benign_twins(recipes: Iterable[Recipe]) -> list[Recipe]:
    """Return the recipes of all benign twins, each once, in the order of their victims."""
    return list(dict.fromkeys(map(benign_twin, recipes)))
