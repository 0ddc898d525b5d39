"""UNIT (Cheng et al., ECCV 2024, arXiv 2407.11372): each neuron's activation has a learned bound.

What is behind each activation function is cut off at a bound of its own for each channel and place:
at first mean + 4 standard deviations of the activations of clean samples. Then the bounds are
lowered for as long as the accuracy on other clean samples allows: the loss is the cross-entropy
plus a weight times the mean bound of each layer, and the weight rises while the accuracy holds and
falls while it does not. Kept are the lowest bounds that held it. Granted are the 5 % of the
training samples that the paper takes, a fifth of them to judge the accuracy.

The start, the weight's course, the optimizer, the number of steps and the loss of accuracy are
those of the authors' code. It differs in that a step takes a batch instead of all samples, that
the accuracy is looked at after every fifth step, when the weight may change, and that where no
bounds hold it the first ones stay.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..samples.predict import differentiable_logits
from ..samples.samples import Samples
from ..samples.subset import Subset
from ..sanitize.labelled_samples import LabelledSamples
from ..sanitize.training import Augment
from .activations import visit_activations
from .predicting import accuracy, predict
from .rival import Defence, Granted, RivalNotApplicable, answer_with

TRAIN_SHARE = 0.8
DEVIATIONS = 4.0
ACCURACY_LOSS = 0.03
"""Accuracy on clean samples that the bounds may cost."""

STEPS = 300
BATCH = 256
RATE = 1e-3
LOOK_EVERY = 5
FIRST_WEIGHT = 1e-3
RAISE = 2.0
LOWER = 2.0**-1.5

Bounds = dict[str, Tensor]
"""The bounds of each activation, by its name: of the shape of its output for one sample."""


def unit(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Clip the activations of every input at the bounds.

    Raises:
        RivalNotApplicable: the model has no activation that is a module.
    """
    count = round(TRAIN_SHARE * len(granted.pool))
    train = _part(granted.pool, range(count))
    held_out = _part(granted.pool, range(count, len(granted.pool)))
    bounds = first_bounds(model, train.samples)
    if not bounds:
        raise RivalNotApplicable("the model has no activation that is a module")
    clipped = clip_at(model, bounds)
    least = accuracy(model, held_out) - ACCURACY_LOSS
    _tighten(clipped, bounds, train, held_out, least, generator, granted.augment)
    return answer_with(clipped)


def _part(pool: LabelledSamples, indices: range) -> LabelledSamples:
    return LabelledSamples(Subset(pool.samples, indices), pool.labels[indices.start : indices.stop])


def first_bounds(model: nn.Module, samples: Samples) -> Bounds:
    """Return mean + 4 standard deviations of each activation over the samples."""
    sums: dict[str, tuple[Tensor, Tensor]] = {}

    def add(name: str, output: Tensor, dimension: int) -> None:
        values = output.double()
        total, squares = values.sum(0), values.square().sum(0)
        if name in sums:
            total, squares = total + sums[name][0], squares + sums[name][1]
        sums[name] = total, squares

    watched = copy.deepcopy(model)
    visit_activations(watched, add)
    predict(watched, samples)
    bounds = {}
    for name, (total, squares) in sums.items():
        mean = total / len(samples)
        variance = (squares / len(samples) - mean.square()).clamp(min=0)
        bounds[name] = (mean + DEVIATIONS * variance.sqrt()).float()
    return bounds


def clip_at(model: nn.Module, bounds: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of the model that clips at bounds, which may change later; none is negative."""
    clipped = copy.deepcopy(model).requires_grad_(False)
    visit_activations(clipped, lambda name, output, _: output.minimum(bounds[name].clamp(min=0)))
    return clipped


def _tighten(
    clipped: nn.Module,
    bounds: Bounds,
    train: LabelledSamples,
    held_out: LabelledSamples,
    least: float,
    generator: torch.Generator,
    augment: Augment,
) -> None:
    """Lower the bounds that a model clips at for as long as its accuracy is at least `least`."""
    best = {name: bound.clone() for name, bound in bounds.items()}
    lowest = torch.inf
    optimizer = torch.optim.Adam(
        [bound.requires_grad_() for bound in bounds.values()], RATE, (0.5, 0.9)
    )
    weight = FIRST_WEIGHT
    for step in range(1, STEPS + 1):
        inputs, labels = train.load(torch.randint(0, len(train), (BATCH,), generator=generator))
        logits = differentiable_logits(clipped, augment(inputs, generator))
        loss = F.cross_entropy(logits, labels.to(logits.device)) + weight * size(bounds)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % LOOK_EVERY:
            continue
        holds = accuracy(clipped, held_out) >= least
        now = float(size(bounds).detach())
        if holds and now < lowest:
            lowest, best = now, {name: bound.detach().clone() for name, bound in bounds.items()}
        weight = max(FIRST_WEIGHT, weight * RAISE) if holds else weight * LOWER
    for name, bound in bounds.items():
        bound.requires_grad_(False).copy_(best[name])


def size(bounds: Mapping[str, Tensor]) -> Tensor:
    """Return the sum over the activations of their mean bound."""
    return torch.stack([bound.clamp(min=0).mean() for bound in bounds.values()]).sum()
