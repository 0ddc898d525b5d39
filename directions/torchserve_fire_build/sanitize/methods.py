"""The methods by name."""

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
    """What the methods work with; each takes what it needs.

    Attributes:
        clean: labelled clean samples.
        generator: of the random numbers.
        schedule: how long and how fast to train.
        accuracy_loss: share of its clean accuracy that pruning or projecting out may cost.
        bundle: whose directions to project out.
        triggers: reconstructed ones, to patch with.
        stamped: share of the samples that carry one of these.
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


def _fine_tune(model: nn.Module, given: SanitizeInputs) -> nn.Module:
    return fine_tune(model, given.clean, given.schedule, given.generator)


def _retrain(model: nn.Module, given: SanitizeInputs) -> nn.Module:
    fresh = build_anew(type(model), model, given.generator)
    return retrain(fresh, given.clean, given.schedule, given.generator)


def _patch(model: nn.Module, given: SanitizeInputs) -> nn.Module:
    if not given.triggers:
        raise SanitizeError("patch: expected reconstructed triggers, to train with")
    return patch(
        model,
        given.clean,
        given.triggers,
        given.schedule,
        given.generator,
        stamped=given.stamped,
    )


def _prune(model: nn.Module, given: SanitizeInputs) -> nn.Module:
    return prune(model, given.clean, given.generator, accuracy_loss=given.accuracy_loss)


def _fine_prune(model: nn.Module, given: SanitizeInputs) -> nn.Module:
    return fine_prune(
        model,
        given.clean,
        given.schedule,
        given.generator,
        accuracy_loss=given.accuracy_loss,
    )


def _orthogonalize(model: nn.Module, given: SanitizeInputs) -> nn.Module:
    if given.bundle is None:
        raise SanitizeError("orthogonalize: expected a bundle, whose directions to project out")
    return orthogonalize_within(model, given.bundle, given.clean, accuracy_loss=given.accuracy_loss)


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
)
