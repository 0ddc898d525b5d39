"""Retraining: a model of the same class, trained from its first weights on clean samples alone.

No backdoor can be left, since nothing of the old weights is, and no model class that brings these
is taken; nor is anything else left that they knew. What the clean samples are too few to teach is
lost: it is what the other repairs are to be compared with. BackdoorBench (Wu et al. 2022, arXiv
2206.12654) trains its models for as many epochs, with the same learning rate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import nn

from ..common.errors import SanitizeError
from .labelled_samples import LabelledSamples
from .training import Augment, Schedule, train, unchanged

logger = logging.getLogger(__name__)


def build_anew(
    build: Callable[[], nn.Module], model: nn.Module, generator: torch.Generator
) -> nn.Module:
    """Return a model with first weights, on the CPU.

    Args:
        build: builds it.
        model: the same with the weights that are to be forgotten.
        generator: whose seed the first weights are drawn by.

    Raises:
        SanitizeError: it is built with some of these weights, or with frozen ones that were drawn.
    """
    seed = generator.initial_seed()
    fresh, another = (_build(build, s) for s in (seed, seed + 1))
    old, others = (dict(m.named_parameters()) for m in (model, another))
    for name, first in fresh.named_parameters():
        drawn = not torch.equal(first, others[name])
        # Of one value all over, as those of a normalisation, they are nobody's.
        plain = torch.equal(first.amin(), first.amax())
        if not drawn and not plain and torch.equal(first, old[name].cpu()):
            raise SanitizeError(
                f"{type(fresh).__name__}: builds {name} with the weights that are to be forgotten, "
                "expected a class that leaves its weights to the weights' file"
            )
        if drawn and not first.requires_grad:
            raise SanitizeError(
                f"{type(fresh).__name__}: freezes {name}, which would stay as it was drawn: "
                "expected a class that can be trained anew"
            )
    return fresh


def _build(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    # Layers draw their first weights from the global generator only.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def retrain(
    fresh: nn.Module,
    clean: LabelledSamples,
    schedule: Schedule,
    generator: torch.Generator,
    *,
    augment: Augment = unchanged,
) -> nn.Module:
    """Train a model with first weights on the clean samples.

    It needs labelled clean samples, nearly as many as the model was trained on. It costs a whole
    training.

    Args:
        fresh: as `build_anew` returns it; it is what is trained.
        clean: what to train on.
        schedule: how long and how fast.
        generator: of the random numbers.
        augment: called with each batch.

    Returns:
        The same model, on the CPU, in evaluation mode.

    Raises:
        SanitizeError: as `train`.
    """
    epochs = train(fresh, clean, schedule, generator, augment=augment, title="retraining")
    said = f"{epochs:.3g} of {schedule.epochs} epochs over {len(clean)} clean samples"
    logger.info("retrained: %s", said)
    return fresh
