"""Universal shifts of a layer's features: how little leads inputs to each class.

A backdoor gives its target a way through the late layers that other classes do not have: a
direction along which any input's features arrive there. So for each class one shift is searched
for that, added to the features of any input, leads there; all shifts are equally long. Only the
layers behind take part, so that a step for a class costs next to nothing, and classes are searched
side by side. That gives an order of the classes, and no verdict: a class of a benign model may
lie near the others, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from ..common.errors import CalibrationError
from ..samples.predict import gradients_of
from .rest_of_model import RestOfModel

PER_CLASS = 24
"""Inputs whose features are shifted, for each class."""

MANY, PER_MANY = 200, 8
"""With more classes than the first, each gets the second number of inputs. On the one network of
1,000 classes whose target the order showed, it showed it as well, in a quarter of the time."""

STEPS = 12
STRIDE = 1 / 4
"""Length of a step, as a share of the shift's length."""

MOMENTUM = 0.9

MOST_VALUES = 1 << 24
"""Values that the model takes at a time; more classes take turns."""


def shift_losses(
    rest: RestOfModel,
    features: Tensor,
    predicted: Tensor,
    classes: int,
    length: float,
    generator: torch.Generator,
    each: int = PER_CLASS,
    done: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """Search for a universal shift towards each class; return what it does not achieve.

    Args:
        rest: the model from the layer on.
        features: of clean inputs, (N, *features) float32.
        predicted: their predicted classes, (N,) int64.
        classes: number of classes.
        length: root mean square of a shift, in root mean square deviations of the features.
        generator: draws the inputs of each class.
        each: how many inputs' features are shifted for each class.
        done: is told how many further classes are done.

    Returns:
        The mean cross-entropy of the shifted features towards each class, (classes,) float64, in
        nats; NaN for a class that all inputs are predicted as.

    Raises:
        CalibrationError: the model lets no gradients through, or has no logits for these features.
    """
    deviation = float(features.var(0).mean().sqrt())
    radius = length * deviation * math.sqrt(features[0].numel())
    rows = [_draw(predicted != target, each, generator) for target in range(classes)]
    together = classes_together(rest, features, each)
    losses = torch.full((classes,), math.nan, dtype=torch.float64)
    possible = [target for target in range(classes) if len(rows[target])]
    for start in range(0, len(possible), together):
        targets = torch.tensor(possible[start : start + together])
        chosen = features[torch.stack([rows[int(target)] for target in targets])]
        losses[targets] = _shift(rest, chosen, targets, radius).double()
        done(len(targets))
    if bool(losses[possible].isnan().any()):
        raise CalibrationError(
            f"layer {rest.layer!r}: the model's logits are NaN for shifted features, expected "
            "numbers"
        )
    return losses


def inputs_for_each(classes: int) -> int:
    """Return how many inputs' features to shift for each of so many classes."""
    return PER_CLASS if classes <= MANY else PER_MANY


def classes_together(rest: RestOfModel, features: Tensor, each: int) -> int:
    """Return how many classes' shifts of features (N, *features) are searched side by side."""
    return max(1, MOST_VALUES // (each * rest.values(features)))


def _draw(others: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw from the inputs that are marked, (N,) bool: indices, (count,), or none."""
    candidates = others.nonzero().flatten()
    if not len(candidates):
        return candidates
    order = torch.randperm(len(candidates), generator=generator)
    # With fewer inputs than this, some are taken twice.
    return candidates[order[torch.arange(count) % len(order)]]


def _shift(rest: RestOfModel, features: Tensor, targets: Tensor, radius: float) -> Tensor:
    """Search for the shifts of some classes; return their losses, (n,).

    Args:
        rest: the model from the layer on.
        features: for each class, those of its inputs, (n, inputs, *features).
        targets: the classes, (n,) int64.
        radius: length of each shift.
    """
    shifts = torch.zeros_like(features[:, 0])
    momentum = torch.zeros_like(shifts)
    wanted = targets.repeat_interleave(features.shape[1]).to(features.device)
    for step in range(STEPS + 1):
        with torch.enable_grad():
            shifts.requires_grad_()
            logits = rest.logits((features + shifts[:, None]).flatten(0, 1))
            losses = F.cross_entropy(logits, wanted, reduction="none")
            losses = losses.view(len(targets), -1).mean(1)
            if step == STEPS:
                break
            (gradient,) = gradients_of(losses.sum(), [shifts])
        momentum = MOMENTUM * momentum + _unit(gradient)
        moved = shifts.detach() - STRIDE * radius * _unit(momentum)
        shifts = moved * (radius / _lengths(moved)).clamp(max=1)
    return losses.detach().cpu()


def _lengths(vectors: Tensor) -> Tensor:
    """Return the length of each vector (n, *S), to be divided by."""
    lengths: Tensor = vectors.flatten(1).norm(dim=1).clamp(min=1e-12)
    return lengths.view(-1, *[1] * (vectors.dim() - 1))


def _unit(vectors: Tensor) -> Tensor:
    """Return the vectors (n, *S) in unit length."""
    unit: Tensor = vectors / _lengths(vectors)
    return unit
