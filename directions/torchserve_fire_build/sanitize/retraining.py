"""Retraining: a model of the same class, trained from new first weights on clean samples alone.

No backdoor can be left, since none of the old weights are left; a model class that comes with them
is refused. Nothing else that they held is left, either. Whatever the clean samples are too few to
teach is lost. Other repairs should be compared with this one. BackdoorBench (Wu et al. 2022, arXiv
2206.12654) trains its models for as many epochs, with the same learning rate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import nn

from torchserve_fire.repair.layers import device_of

from ..common.errors import SanitizeError
from .labelled_samples import LabelledSamples
from .training import Augment, Schedule, train, unchanged

logger = logging.getLogger(__name__)


def build_anew(
    build: Callable[[], nn.Module], model: nn.Module, generator: torch.Generator
) -> nn.Module:
    """Return a model with new first weights, on the device of the old ones.

    Args:
        build: builds the model.
        model: the same model, with the weights to forget.
        generator: its seed is that of the first weights.

    Raises:
        SanitizeError: the new model has some of the weights to forget, or it has frozen weights
            that were drawn at random.
    """
    seed = generator.initial_seed()
    fresh, another = (_build(build, s) for s in (seed, seed + 1))
    old, redrawn = (dict(m.named_parameters()) for m in (model, another))
    for name, first in fresh.named_parameters():
        drawn = not torch.equal(first, redrawn[name])
        # Weights that all have the same value, such as a normalisation's, hold nothing.
        plain = torch.equal(first.amin(), first.amax())
        if not drawn and not plain and torch.equal(first, old[name].cpu()):
            raise SanitizeError(
                f"{type(fresh).__name__}: builds {name} with the weights to forget, expected a "
                "class whose weights come only from the weights' file"
            )
        if drawn and not first.requires_grad:
            raise SanitizeError(
                f"{type(fresh).__name__}: freezes {name}, which would keep its random values: "
                "expected a class that can be trained anew"
            )
    return fresh.to(device_of(model))


def _build(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    # Layers draw their first weights only from the global generator.
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
        fresh: the model from `build_anew`; it is trained in place.
        clean: the samples to train on.
        schedule: how long and how fast to train.
        generator: source of the random numbers.
        augment: called with each batch.

    Returns:
        The same model, in evaluation mode.

    Raises:
        SanitizeError: as in `train`.
    """
    epochs = train(fresh, clean, schedule, generator, augment=augment, title="retraining")
    training = f"{epochs:.3g} of {schedule.epochs} epochs over {len(clean)} clean samples"
    logger.info("retrained: %s", training)
    return fresh
