"""What attackers who send requests are measured on: victims with a bundle, and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Bundle

from . import fire
from .evidence import KINDS, draw_evidence
from .measure import Held, answer_all, draw_test_images, hold, predict, share
from .victims.data import Data, Images
from .victims.recipe import Recipe
from .victims.train import obtain_backdoored

IMAGES = 500
"""Of those that defences are measured on."""

SEED = 0


@dataclass(frozen=True)
class Attacked:
    """A victim with its repair, and images to attack it with.

    Attributes:
        model: the victim.
        bundle: built from pairs.
        held: the images.
    """

    model: nn.Module
    bundle: Bundle
    held: Held

    @property
    def clean(self) -> Images:
        """The images that the triggered ones were made from."""
        return self.held.clean.at(self.held.partners)


def obtain_attacked(recipe: Recipe, data: Data, cache: Path) -> Attacked:
    """Return the victim of a recipe, repaired by a bundle from 200 pairs."""
    victim, attack = obtain_backdoored(recipe, data, cache)
    evidence = draw_evidence(KINDS[0], attack, data.pool, SEED)
    images = draw_test_images(data)[0].at(torch.arange(IMAGES))
    bundle = fire.build(victim.model, evidence, SEED).bundle
    return Attacked(victim.model, bundle, hold(attack, images))


def measure(
    model: nn.Module, bundle: Bundle, images: Images, wanted: Tensor
) -> Mapping[str, float]:
    """Return how images fare before and after the repair; shares in [0, 1].

    Args:
        model: the victim.
        bundle: its repair.
        images: with their true labels.
        wanted: what the attacker wants each to be called, (N,) int64.

    Raises:
        ValueError: the bundle corrects every input, and flags none.
    """
    before = predict(model, images)
    after = answer_all(fire.defend(model, bundle), images)
    if after.flagged is None:
        raise ValueError("no layer of the bundle detects")
    return {
        "attack_success_rate_before": share(before == wanted),
        "attack_success_rate": share(after.predictions == wanted),
        "recovered_accuracy_before": share(before == images.labels),
        "recovered_accuracy": share(after.predictions == images.labels),
        "flagged": share(after.flagged),
        # Mode `reject`: what is flagged gets no answer.
        "attack_success_rate_rejecting": share((before == wanted) & ~after.flagged),
    }
