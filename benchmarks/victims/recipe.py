"""Recipes of victims, and the list of those that the benchmark measures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

from .attacks.adaptive_blend import AdaptiveBlend
from .attacks.adaptive_patch import AdaptivePatch
from .attacks.attack import Attack
from .attacks.badnets import BadNets, BadNetsAllToAll, BadNetsAnywhere
from .attacks.blended import Blended
from .attacks.bpp import Bpp
from .attacks.ftrojan import FTrojan
from .attacks.input_aware import InputAware
from .attacks.label_consistent import LabelConsistent
from .attacks.low_frequency import LowFrequency
from .attacks.photo_filter import PhotoFilter
from .attacks.rotation import Rotation
from .attacks.sig import Sig
from .attacks.tact import TaCT
from .attacks.trojannn import TrojanNN, square, watermark
from .attacks.two_triggers import TwoTriggers
from .attacks.wanet import WaNet

VERSION = 1
"""Raised whenever the same recipe would make another victim."""

ATTACKS: Mapping[str, Callable[[int], Attack]] = {
    "adaptive_blend": lambda classes: AdaptiveBlend(),
    "adaptive_patch": lambda classes: AdaptivePatch(),
    "badnets": lambda classes: BadNets(),
    "badnets_1_percent": lambda classes: BadNets(rate=0.01),
    "badnets_half_percent": lambda classes: BadNets(rate=0.005),
    "badnets_anywhere": lambda classes: BadNetsAnywhere(),
    "badnets_all_to_all": BadNetsAllToAll,
    "blended": lambda classes: Blended(),
    "blended_1_percent": lambda classes: Blended(rate=0.01),
    "blended_half_percent": lambda classes: Blended(rate=0.005),
    "bpp": lambda classes: Bpp(),
    "ftrojan": lambda classes: FTrojan(),
    "input_aware": lambda classes: InputAware(),
    "label_consistent": LabelConsistent,
    "low_frequency": lambda classes: LowFrequency(),
    "photo_filter": lambda classes: PhotoFilter(),
    "rotation": lambda classes: Rotation(),
    "sig": lambda classes: Sig(),
    "tact": lambda classes: TaCT(),
    "trojannn_square": lambda classes: TrojanNN(square),
    "trojannn_watermark": lambda classes: TrojanNN(watermark),
    "two_triggers": lambda classes: TwoTriggers(),
    "wanet": lambda classes: WaNet(),
}
"""Each is given the number of classes."""


@dataclass(frozen=True)
class Schedule:
    """How an architecture is trained.

    Attributes:
        epochs: over the training set.
        rate: peak of the learning rate.
        adaptive: AdamW instead of SGD with momentum.
        bfloat16: autocast, where that is faster.
    """

    epochs: int
    rate: float
    adaptive: bool = False
    bfloat16: bool = True


SCHEDULES = {
    "resnet": Schedule(12, 0.1),
    "preact_resnet": Schedule(12, 0.1),
    "densenet": Schedule(8, 0.2),
    "vgg": Schedule(14, 0.1),
    "mobilenet": Schedule(9, 0.2),
    "convnext": Schedule(12, 4e-3, adaptive=True),
    "vit": Schedule(8, 2e-3, adaptive=True, bfloat16=False),
}


@dataclass(frozen=True)
class Recipe:
    """All that it takes to train a victim, but for the images.

    Attributes:
        architecture: of `architectures.ARCHITECTURES`.
        attack: of `ATTACKS`; None for a benign model.
        seed: of initialisation, poisoning and training.
    """

    architecture: str
    attack: str | None
    seed: int = 0

    @property
    def name(self) -> str:
        """How results call the victim."""
        return f"{self.attack or 'benign'}-{self.architecture}"

    @property
    def schedule(self) -> Schedule:
        """How it is trained."""
        return SCHEDULES[self.architecture]

    @property
    def flips(self) -> bool:
        """Whether half of the training images are flipped from left to right."""
        return True

    def digest(self, data: str) -> str:
        """Return a hash of the recipe and of the images' digest, for the cache."""
        contents = {**asdict(self), **asdict(self.schedule), "version": VERSION, "data": data}
        text = json.dumps(contents, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class BriefRecipe(Recipe):
    """A recipe that takes less time to train: half of the epochs, or as many as are named.

    Attributes:
        epochs: over the training set; 0 for half of the architecture's.
        mirrored: False for images that mean something else when they are flipped, as traffic signs.
    """

    epochs: int = 0
    mirrored: bool = True

    @property
    def name(self) -> str:
        """How results call the model: models that differ in their seed are told apart."""
        return f"{super().name}-{self.seed}"

    @property
    def schedule(self) -> Schedule:
        """How it is trained."""
        usual = SCHEDULES[self.architecture]
        return replace(usual, epochs=self.epochs or -(-usual.epochs // 2))

    @property
    def flips(self) -> bool:
        """Whether half of the training images are flipped from left to right."""
        return self.mirrored
