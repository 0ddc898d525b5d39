"""The figures of a defence, on images that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchserve_fire_build.rivals.defence_figures import DefenceFigures
from torchserve_fire_build.rivals.rival import Answers, Defence, join_answers

from .victims.attacks.attack import Attack
from .victims.data import Data, Images
from .victims.poison import stamp_images, to_float
from .victims.train import normalise

BATCH = 100
STAMP_SEED = 1
TEST_IMAGES = 5000
"""Of the test set; 0.1 points are 5 images."""


@dataclass(frozen=True)
class Held:
    """Images to measure on.

    Attributes:
        clean: with their true labels.
        triggered: the images of `partners`, triggered; with their true labels.
        wanted: what the attacker wants each triggered image called, (M,) int64.
        partners: indices into the clean images, (M,) int64.
    """

    clean: Images
    triggered: Images
    wanted: Tensor
    partners: Tensor


def draw_test_images(data: Data) -> tuple[Images, Images]:
    """Return the images that victims are measured on, the same for all, and those that are left."""
    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))
    return data.test.at(order[:TEST_IMAGES]), data.test.at(order[TEST_IMAGES:])


def hold(attack: Attack, images: Images) -> Held:
    """Return images and their triggered selves, without those that are what the attacker wants."""
    stamped = stamp_images(attack, images, torch.Generator().manual_seed(STAMP_SEED))
    partners = (stamped.labels != images.labels).nonzero().flatten()
    triggered = Images(stamped.pixels[partners], images.labels[partners])
    return Held(images, triggered, stamped.labels[partners], partners)


@dataclass(frozen=True)
class Baseline:
    """What the unrepaired victim and its benign twin answer; all shares in [0, 1].

    Attributes:
        clean_accuracy: BA before repair.
        attack_success_rate: ASR before repair.
        recovered_accuracy: RA before repair.
        clean_partners: accuracy on the clean images that the triggered ones were made from.
        natural_rate: share of those that the victim calls what the attacker wants.
        benign: accuracy of the benign twin on the triggered images.
        benign_clean: its accuracy on their clean partners.
    """

    clean_accuracy: float
    attack_success_rate: float
    recovered_accuracy: float
    clean_partners: float
    natural_rate: float
    benign: float
    benign_clean: float


def measure_baseline(victim: nn.Module, benign: nn.Module | None, held: Held) -> Baseline:
    """Work out what there is to recover, and what is lost.

    Args:
        victim: before any repair.
        benign: its benign twin; None where there is none: then it stands for one itself, on images
            without a trigger.
        held: the images.
    """
    clean, triggered = predict(victim, held.clean), predict(victim, held.triggered)
    truth, partners = held.triggered.labels, clean[held.partners]
    seen = share(partners == truth)
    return Baseline(
        clean_accuracy=share(clean == held.clean.labels),
        attack_success_rate=share(triggered == held.wanted),
        recovered_accuracy=share(triggered == truth),
        clean_partners=seen,
        natural_rate=share(partners == held.wanted),
        benign=seen if benign is None else share(predict(benign, held.triggered) == truth),
        benign_clean=seen
        if benign is None
        else share(predict(benign, held.clean)[held.partners] == truth),
    )


def best_reader(models: Sequence[nn.Module], images: Images) -> nn.Module | None:
    """Return the model that is right on most of the images; None of no models."""
    return max(models, key=lambda m: share(predict(m, images) == images.labels), default=None)


def measure_defence(defence: Defence, held: Held) -> DefenceFigures:
    """Let a defence answer all images."""
    clean, triggered = (answer_all(defence, images) for images in (held.clean, held.triggered))
    return DefenceFigures(
        clean_accuracy=share(clean.predictions == held.clean.labels),
        attack_success_rate=share(triggered.predictions == held.wanted),
        recovered_accuracy=share(triggered.predictions == held.triggered.labels),
        flagged_clean=None if clean.flagged is None else share(clean.flagged),
        flagged_triggered=None if triggered.flagged is None else share(triggered.flagged),
        passes_clean=float(clean.passes.mean()),
        passes_triggered=float(triggered.passes.mean()),
    )


def predict(model: nn.Module, images: Images) -> Tensor:
    """Return the classes that a model predicts, (N,) int64."""
    with torch.no_grad():
        parts = [model(normalise(to_float(p))).argmax(1) for p in images.pixels.split(BATCH)]
    return torch.cat(parts)


def share(values: Tensor) -> float:
    """Return the share of true values."""
    return float(values.double().mean())


def answer_all(defence: Defence, images: Images) -> Answers:
    """Return what a defence answers to all images."""
    batches = images.pixels.split(BATCH)
    return join_answers([defence(normalise(to_float(pixels))) for pixels in batches])
