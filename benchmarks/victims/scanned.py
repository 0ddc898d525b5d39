"""The models that `benchmarks.scanning` judges beside the catalogue: small ones, many benign."""

from __future__ import annotations

from .data_sets import CIFAR, DATA_SETS, SIGNS, TINY, of_signs
from .recipe import BriefRecipe, Recipe

SCANNED: dict[str, tuple[Recipe, ...]] = {
    CIFAR: (
        *(BriefRecipe(a, None, 1) for a in ("mobilenet", "resnet", "vgg", "convnext")),
        *(BriefRecipe(a, None, 2, 4) for a in ("mobilenet", "resnet", "vgg")),
        BriefRecipe("convnext", None, 2, 5),
        *(
            BriefRecipe(a, None, seed, 4)
            for seed in (3, 4, 5, 6)
            for a in ("mobilenet", "resnet", "vgg", "convnext")
        ),
        *(BriefRecipe(a, None, 7, 4) for a in ("mobilenet", "resnet")),
        *(BriefRecipe(a, None, 1, 4) for a in ("vit", "preact_resnet")),
        BriefRecipe("resnet", "badnets_all_to_all", 1),
        BriefRecipe("vgg", "badnets_all_to_all", 2),
        BriefRecipe("mobilenet", "badnets_all_to_all", 3),
        BriefRecipe("resnet", "badnets_all_to_all", 4),
        BriefRecipe("vgg", "badnets_all_to_all", 5),
        BriefRecipe("vgg", "badnets", 2),
        BriefRecipe("resnet", "blended", 2),
        BriefRecipe("mobilenet", "blended", 2),
        BriefRecipe("convnext", "low_frequency", 2),
    ),
    SIGNS: (
        *(
            of_signs(a, None, seed)
            for seed in (1, 2, 3, 4, 5, 6, 7, 8)
            for a in ("resnet", "vgg", "mobilenet", "convnext")
        ),
        *DATA_SETS[SIGNS].victims,
    ),
    TINY: (
        BriefRecipe("convnext", None, 1, 10),
        BriefRecipe("resnet", None, 1, 6),
        *DATA_SETS[TINY].victims,
    ),
}
"""By data set. Each model's seed decides its first weights, and the order of its images."""

UNSEEN: dict[str, tuple[Recipe, ...]] = {
    CIFAR: (
        BriefRecipe("vgg", "rotation", 2),
        BriefRecipe("mobilenet", "rotation", 3),
        BriefRecipe("vgg", "wanet", 2),
        BriefRecipe("vgg", "photo_filter", 2),
    ),
}
"""Victims that were trained once the scan and its fit were made."""
