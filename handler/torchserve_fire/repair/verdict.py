"""Judging: which samples of a forward pass are flagged, and for which repair."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import RepairError
from .corrections import Projection
from .layers import feature_of


@dataclass(frozen=True)
class Verdict:
    """What was found in one forward pass.

    Attributes:
        scores: projections at the detecting layer, (N,) float32; None where no layer detects. With
            several repairs, a sample has the score of the repair whose target it is predicted as,
            or else of the first one.
        flagged: which samples are flagged as triggered, (N,) bool; all of them where no layer
            detects.
        detector_scores: projections at each detecting layer, (N,) float32, in the bundle's order.
    """

    scores: Tensor | None
    flagged: Tensor
    detector_scores: Sequence[Tensor] = ()


@dataclass(frozen=True)
class Judge:
    """What one repair flags.

    Attributes:
        projection: gives a sample's score, and knows the threshold.
        only_target: whether a sample must also be predicted as the target.
        target: the class that the trigger leads to; None only where nothing asks for it.
    """

    projection: Projection
    only_target: bool
    target: int | None


def judge_pass(
    judges: Sequence[Judge],
    scores: Mapping[int, Tensor],
    output: Any,
    size: int,
    *,
    forced: bool,
) -> tuple[Verdict, list[Tensor]]:
    """Judge one whole forward pass.

    Args:
        judges: one for each repair; none where every input is corrected.
        scores: projections at the detecting layer of each repair, (N,) float32, by its index.
        output: the model's.
        size: N.
        forced: whether every sample counts as flagged, to prove the corrections.

    Returns:
        The verdict, and what each repair flagged, (N,) bool.

    Raises:
        RepairError: there is not one score per sample, or a judge lacks the logits it asks for.
    """
    if not judges:
        return Verdict(None, torch.ones(size, dtype=torch.bool)), []
    indices = range(len(judges))
    if any(i not in scores or size != len(scores[i]) for i in indices):
        raise RepairError("the detecting layer does not have one feature per input sample")
    every = [scores[i] for i in indices]
    judged, flagged = judge(judges, every, output, prove=forced)
    if forced:
        flagged = [torch.ones_like(one) for one in flagged]
    return Verdict(judged, functools.reduce(torch.logical_or, flagged), every), flagged


def judge(
    judges: Sequence[Judge], scores: Sequence[Tensor], output: Any, *, prove: bool
) -> tuple[Tensor, list[Tensor]]:
    """Judge the samples of one forward pass; no two judges flag the same one.

    Args:
        judges: one, or several that have different targets and flag nothing else.
        scores: of each judge, (N,) float32.
        output: the model's. Its logits are looked at where a judge asks for the target.
        prove: look at the logits even where nothing can be flagged, to see that they are there.

    Returns:
        The score that each sample is judged by, (N,), and what each judge flags, (N,) bool.

    Raises:
        RepairError: the logits that a judge asks for are not there, or lack its target.
    """
    if len(judges) == 1:
        one, score = judges[0], scores[0]
        # For nearly all requests the score is enough.
        if not prove and one.projection.flags_none(score):
            return score, [torch.zeros_like(score, dtype=torch.bool)]
        flagged = one.projection.flags(score)
        if one.only_target:
            flagged &= _predicted_targets(judges, output, len(score))[0] | ~score.isfinite()
        return score, [flagged]
    every = torch.stack(list(scores))
    predicted = _predicted_targets(judges, output, every.shape[1])
    # The judge of each sample; where it is predicted as no target, the first one.
    judged_by = torch.stack(predicted).int().argmax(0)
    unjudged = ~every.isfinite().all(0)
    return every.gather(0, judged_by[None])[0], [
        (judged_by == i) & (unjudged | (predicted[i] & one.projection.flags(scores[i])))
        for i, one in enumerate(judges)
    ]


def _predicted_targets(judges: Sequence[Judge], output: Any, size: int) -> list[Tensor]:
    """Return, for each judge, which samples are predicted as its target, (N,) bool."""
    logits = feature_of(output)
    if logits is None or logits.dim() != 2 or len(logits) != size:
        raise RepairError("the model's output is not a (N, classes) tensor of logits")
    classes = logits.argmax(1)
    predicted = []
    for one in judges:
        if one.target is None or not one.target < logits.shape[1]:
            raise RepairError(f"target {one.target}: the model has {logits.shape[1]} classes")
        predicted.append(classes.eq(one.target))
    return predicted
