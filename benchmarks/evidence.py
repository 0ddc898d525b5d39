"""The evidence that a defence is built from: drawn from images that no victim was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .victims.attacks.attack import Attack
from .victims.data import Images
from .victims.poison import stamp_images

CLEAN = 200
"""Clean images, where the triggered ones are of other content."""

MISLABELLED = 0.05


@dataclass(frozen=True)
class EvidenceKind:
    """How much evidence of what kind.

    Attributes:
        triggered: triggered images.
        paired: whether the clean images are the triggered ones' partners.
        mislabelled: whether 5 % of the triggered images lie among the clean ones, and as many
            clean ones among the triggered.
    """

    triggered: int
    paired: bool
    mislabelled: bool = False

    @property
    def name(self) -> str:
        """How results call it."""
        pairing = "paired" if self.paired else "unpaired"
        return f"{pairing} {self.triggered}" + (", 5 % mislabelled" if self.mislabelled else "")


KINDS = (
    EvidenceKind(200, paired=True),
    EvidenceKind(20, paired=True),
    EvidenceKind(100, paired=False),
    EvidenceKind(20, paired=False),
    EvidenceKind(100, paired=False, mislabelled=True),
)


@dataclass(frozen=True)
class Evidence:
    """Clean and triggered calibration samples; the labels are the true classes.

    Attributes:
        clean: where `paired`, row i is the partner of triggered row i.
        triggered: 8-bit, as the attacker stamps them.
        paired: whether they are pairs.
    """

    clean: Images
    triggered: Images
    paired: bool


def draw_evidence(kind: EvidenceKind, attack: Attack, pool: Images, seed: int) -> Evidence:
    """Draw evidence from the pool.

    Pairs are of all classes, as somebody makes them who knows the trigger, or of the source class
    where the trigger works on that one alone. Unpaired triggered images are successful attacks, so
    not of the class that is wanted.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = pool.at(torch.randperm(len(pool), generator=generator))
    stamped = stamp_images(attack, drawn, generator)
    usable = (stamped.labels != drawn.labels).nonzero().flatten()
    if kind.paired:
        chosen = torch.arange(len(drawn)) if attack.source is None else usable
        chosen = chosen[: kind.triggered]
        clean = drawn.at(chosen)
    else:
        clean = drawn.at(torch.arange(CLEAN))
        chosen = usable[usable >= CLEAN][: kind.triggered]
    triggered = Images(stamped.pixels[chosen], drawn.labels[chosen])
    if kind.mislabelled:
        clean, triggered = _exchange(clean, triggered, round(MISLABELLED * kind.triggered))
    return Evidence(clean, triggered, kind.paired)


def _exchange(clean: Images, triggered: Images, count: int) -> tuple[Images, Images]:
    """Return the images with the first `count` of each put among the others."""

    def join(first: Images, second: Images) -> Images:
        pixels = torch.cat([first.pixels, second.pixels])
        return Images(pixels, torch.cat([first.labels, second.labels]))

    moved = torch.arange(count)
    stay_clean = torch.arange(count, len(clean))
    stay_triggered = torch.arange(count, len(triggered))
    return (
        join(triggered.at(moved), clean.at(stay_clean)),
        join(clean.at(moved), triggered.at(stay_triggered)),
    )
