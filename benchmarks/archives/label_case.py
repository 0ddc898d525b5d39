"""A handler of one's own: normalisation, crop, and answers of its own form."""

from __future__ import annotations

from pathlib import Path

import torch

from ..victims import architectures
from ..victims.attacks.attack import TARGET
from ..victims.recipe import Recipe
from .case import Case, pack, write_samples
from .packed import label_handler
from .small_pictures import CLASSES, draw_samples, obtain_small

BORDER = (2, 8)
"""What the handler's crop takes away."""
NET = Path(label_handler.__file__).with_name("label_net.py")


def label_case(data: Path, cache: Path, folder: Path) -> Case:
    """Make the case; arguments as of `photograph_case`."""
    images, victim, attack = obtain_small(data, cache, Recipe("resnet", "badnets"))
    weights = folder / "labels.pth"
    torch.save(victim.model.state_dict(), weights)
    to_build, test = draw_samples(images, attack, TARGET, BORDER)
    clean, triggered = write_samples(to_build, CLASSES, TARGET, ".png", folder)
    return Case(
        "own handler",
        pack(
            folder,
            handler=label_handler.__file__,
            classes=CLASSES,
            model_file=NET,
            weights=weights,
            extra_files=[Path(architectures.__file__)],
        ),
        clean,
        triggered,
        test,
        CLASSES,
        TARGET,
        ".png",
        "application/octet-stream",
        lambda answer: str(answer["label"]),
    )
