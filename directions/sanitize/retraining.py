"""Retraining: a model of the same class, trained from its first weights on clean samples alone.

No backdoor can be left, since nothing of the old weights is; nor is anything else that they knew.
What the clean samples are too few to teach is lost: it is what the other repairs are to be compared
with. BackdoorBench (Wu et al. 2022, arXiv 2206.12654) trains its models for as many epochs, with
the same learning rate.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from .labelled_samples import LabelledSamples
from .training import Augment, Schedule, train, unchanged


def build_anew(model_class: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """Return a model with first weights, on the CPU.

    Args:
        model_class: builds it.
        generator: whose seed the first weights are drawn by.
    """
    # Layers draw their first weights from the global generator only.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        return model_class()


def retrain(
    fresh: nn.Module,
    clean: LabelledSamples,
    schedule: Schedule,
    generator: torch.Generator,
    *,
    augment: Augment = unchanged,
    tell: Callable[[str], None] = lambda line: None,
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
        tell: called with what was done, as a line for a person.

    Returns:
        The same model, on the CPU, in evaluation mode.

    Raises:
        SanitizeError: as `train`.
    """
    epochs = train(fresh, clean, schedule, generator, augment=augment, title="retraining")
    tell(f"retrained: {epochs:.3g} of {schedule.epochs} epochs over {len(clean)} clean samples")
    return fresh
