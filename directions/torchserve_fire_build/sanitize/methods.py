"""The sanitizing methods, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from torchserve_fire.format.bundle import Bundle

from ..common.errors import SanitizeError
from ..common.registry import Registry
from ..reconstruct.reconstruction import Reconstruction
from .defaults import STAMPED
from .fine_pruning import fine_prune
from .fine_tuning import fine_tune
from .labelled_samples import LabelledSamples
from .orthogonalizing import orthogonalize_within
from .patching import patch
from .pruning import prune
from .retraining import build_anew, retrain
from .training import Schedule


@dataclass(frozen=True)
class SanitizeInputs:
    """The inputs of all methods; each method uses those that it needs.

    Attributes:
        clean: labelled clean samples.
        generator: source of the random numbers.
        schedule: how long and how fast to train.
        accuracy_loss: share of the clean accuracy that pruning or projecting out may lose.
        bundle: the bundle whose directions to project out.
        triggers: reconstructed triggers to patch with.
        stamped: share of the samples that carry one of these triggers.
    """

    clean: LabelledSamples
    generator: torch.Generator
    schedule: Schedule
    accuracy_loss: float
    bundle: Bundle | None = None
    triggers: Sequence[Reconstruction] = ()
    stamped: float = STAMPED


SanitizeMethod = Callable[[nn.Module, SanitizeInputs], nn.Module]
"""Returns a copy of a model, in evaluation mode, with other weights of the same shapes."""


def _fine_tune(model: nn.Module, inputs: SanitizeInputs) -> nn.Module:
    return fine_tune(model, inputs.clean, inputs.schedule, inputs.generator)


def _retrain(model: nn.Module, inputs: SanitizeInputs) -> nn.Module:
    fresh = build_anew(type(model), model, inputs.generator)
    return retrain(fresh, inputs.clean, inputs.schedule, inputs.generator)


def _patch(model: nn.Module, inputs: SanitizeInputs) -> nn.Module:
    if not inputs.triggers:
        raise SanitizeError("patch: expected reconstructed triggers to train with")
    return patch(
        model,
        inputs.clean,
        inputs.triggers,
        inputs.schedule,
        inputs.generator,
        stamped=inputs.stamped,
    )


def _prune(model: nn.Module, inputs: SanitizeInputs) -> nn.Module:
    return prune(model, inputs.clean, inputs.generator, accuracy_loss=inputs.accuracy_loss)


def _fine_prune(model: nn.Module, inputs: SanitizeInputs) -> nn.Module:
    return fine_prune(
        model,
        inputs.clean,
        inputs.schedule,
        inputs.generator,
        accuracy_loss=inputs.accuracy_loss,
    )


def _orthogonalize(model: nn.Module, inputs: SanitizeInputs) -> nn.Module:
    if inputs.bundle is None:
        raise SanitizeError("orthogonalize: expected a bundle whose directions to project out")
    return orthogonalize_within(
        model, inputs.bundle, inputs.clean, accuracy_loss=inputs.accuracy_loss
    )


SANITIZE_METHODS: Registry[SanitizeMethod] = Registry(
    "torchserve_fire.sanitize_methods",
    {
        "fine-tune": _fine_tune,
        "retrain": _retrain,
        "patch": _patch,
        "prune": _prune,
        "fine-prune": _fine_prune,
        "orthogonalize": _orthogonalize,
    },
    returns=nn.Module,
)
