"""Judging: which samples of a forward pass are flagged, and for which repair."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError, RepairError
from .corrections import Projection
from .logits import find_logits


@dataclass(frozen=True)
class Verdict:
    """What was found in one forward pass.

    Attributes:
        scores: projections at the detecting layer, (N,) float32; None where no layer detects. With
            several repairs, a sample has the score of the repair whose target it is predicted as,
            or else of the first one that judges by a layer.
        flagged: which samples are flagged as triggered, (N,) bool; all of them where no layer
            detects.
        detector_scores: projections at each detecting layer, (N,) float32, in the bundle's order.
            Without those of the model's input, where not all samples are scored.
        flagged_by: what each repair flags, (N,) bool, in the bundle's order; the first that flags a
            sample repairs it. Empty where no layer detects.
    """

    scores: Tensor | None
    flagged: Tensor
    detector_scores: Sequence[Tensor] = ()
    flagged_by: Sequence[Tensor] = ()

    def on_cpu(self) -> Verdict:
        """Return it on the CPU; itself where it is there."""
        if self.flagged.device.type == "cpu":
            return self
        return Verdict(
            None if self.scores is None else self.scores.cpu(),
            self.flagged.cpu(),
            [scores.cpu() for scores in self.detector_scores],
            [flagged.cpu() for flagged in self.flagged_by],
        )


@dataclass(frozen=True)
class Judge:
    """What one repair flags.

    Attributes:
        projection: gives a sample's score, and knows the threshold.
        only_target: whether a sample must also be predicted as the target.
        target: the class that the trigger leads to; None only where nothing asks for it.
        base: where it judges by the model's input, in the place of a layer: the score without a
            trigger, which a sample has that is not scored.
    """

    projection: Projection
    only_target: bool
    target: int | None
    base: float | None = None


def surely_clean(judges: Sequence[Judge], scores: Mapping[int, Tensor], size: int) -> bool:
    """Return whether surely no sample of a forward pass is flagged.

    For nearly all requests the scores are enough to know it.

    Args:
        judges: one for each repair; none where every input is corrected.
        scores: projections of each repair, (N,) float32, by its index: at its detecting layer, or
            of the model's input where a sample of it may be flagged.
        size: N.
    """
    for i, one in enumerate(judges):
        score = scores.get(i)
        if score is None:
            if one.base is None:
                return False
        elif score.shape[0] != size or not one.projection.surely_flags_none(score):
            return False
    return len(judges) > 0


def clean_verdict(
    judges: Sequence[Judge], scores: Mapping[int, Tensor], classes: Tensor | None, size: int
) -> Verdict:
    """Return the verdict on a forward pass that is `surely_clean`.

    Args:
        judges: one or several.
        scores: as `surely_clean` takes them.
        classes: what the samples are predicted as, (N,) int64; None only of judges for one target.
        size: N.
    """
    every = _every_score(judges, scores, size)
    of_layers = [score for score, one in zip(every, judges, strict=True) if one.base is None]
    judged = of_layers[0] if of_layers else every[0]
    if classes is not None and len({one.target for one in judges}) > 1:
        # Of each target, the first repair.
        of_target: dict[int | None, list[float]] = {}
        for one, score in zip(judges, every, strict=True):
            if one.base is None or not of_layers:
                of_target.setdefault(one.target, score.tolist())
        otherwise = judged.tolist()
        chosen = [of_target.get(k, otherwise)[n] for n, k in enumerate(classes.tolist())]
        judged = torch.tensor(chosen, dtype=torch.float32)
    none = torch.zeros(size, dtype=torch.bool)
    return Verdict(judged, none, of_layers, [none] * len(judges))


def judge_pass(
    judges: Sequence[Judge],
    scores: Mapping[int, Tensor],
    output: Any,
    size: int,
    *,
    forced: bool,
) -> Verdict:
    """Judge one whole forward pass.

    Args:
        judges: one for each repair; none where every input is corrected.
        scores: as `surely_clean` takes them.
        output: the model's. Its logits are looked at where a judge asks for the target.
        size: N.
        forced: whether every sample counts as flagged, to prove the corrections.

    Raises:
        RepairError: there is not one score per sample, or a judge lacks the logits it asks for.
    """
    if not judges:
        return Verdict(None, torch.ones(size, dtype=torch.bool))
    every = _every_score(judges, scores, size)
    judged, flagged = judge(judges, every, output)
    if forced:
        flagged = [torch.ones_like(one) for one in flagged]
    of_layers = [score for score, one in zip(every, judges, strict=True) if one.base is None]
    whole = functools.reduce(torch.logical_or, flagged)
    return Verdict(judged, whole, of_layers, flagged)


def _every_score(judges: Sequence[Judge], scores: Mapping[int, Tensor], size: int) -> list[Tensor]:
    """Return a score of each sample, (N,), of each judge.

    Raises:
        RepairError: there is not one score per sample.
    """
    every = []
    for i, one in enumerate(judges):
        score = scores.get(i)
        if score is None and one.base is not None:
            score = torch.full((size,), one.base, dtype=torch.float32)
        if score is None or len(score) != size:
            raise RepairError("the detecting layer does not have one feature per input sample")
        every.append(score)
    return every


def judge(
    judges: Sequence[Judge], scores: Sequence[Tensor], output: Any
) -> tuple[Tensor, list[Tensor]]:
    """Judge the samples of one forward pass.

    Args:
        judges: one or several; those for different targets flag nothing else.
        scores: of each judge, (N,) float32.
        output: the model's. Its logits are looked at where a judge asks for the target.

    Returns:
        The score that each sample is judged by, (N,), and what each judge flags, (N,) bool. The
        first judge that flags a sample has it.

    Raises:
        RepairError: the logits that a judge asks for are not there, or lack its target.
    """
    if len(judges) == 1:
        one, score = judges[0], scores[0]
        flagged = one.projection.flags(score)
        if one.only_target:
            flagged &= may_be_flagged(judges, output, score.shape[0])[0] | ~score.isfinite()
        return score, [flagged]
    every = torch.stack(list(scores))
    may = torch.stack(
        [rows.to(every.device) for rows in may_be_flagged(judges, output, every.shape[1])]
    )
    over = torch.stack([one.projection.flags(scores[i]) for i, one in enumerate(judges)])
    flags = may & over
    # A score that is not finite does not show the sample to be clean.
    unjudged = ~every.isfinite().all(0)
    # Of the model's input, only what may be flagged has a score of its own.
    layers = [i for i, one in enumerate(judges) if one.base is None]
    for i, one in enumerate(judges):
        if one.base is not None and layers:
            may[i] = False
    # The judge of each sample: the first that flags it, else the first that may, else the first.
    judged_by = torch.where(may.any(0), may.int().argmax(0), layers[0] if layers else 0)
    judged_by = torch.where(flags.any(0), flags.int().argmax(0), judged_by)
    return every.gather(0, judged_by[None])[0], [
        flags[i] | (unjudged & (judged_by == i)) for i in range(len(judges))
    ]


def may_be_flagged(judges: Sequence[Judge], output: Any, size: int) -> list[Tensor]:
    """Return which samples each judge may flag, (N,) bool: those predicted as its target.

    Raises:
        RepairError: the logits that a judge asks for are not there, or lack its target.
    """
    classes = predicted_classes(judges, output, size)
    return [
        classes.eq(one.target)
        if classes is not None and one.target is not None and one.only_target
        else torch.ones(size, dtype=torch.bool)
        for one in judges
    ]


def predicted_classes(judges: Sequence[Judge], output: Any, size: int) -> Tensor | None:
    """Return the class that each sample is predicted as, (N,) int64; None where no judge asks.

    Raises:
        RepairError: the logits that a judge asks for are not there, or lack its target.
    """
    asking = [one for one in judges if one.only_target]
    if not asking:
        return None
    try:
        logits = find_logits(output, size)
    except ModelError as error:
        raise RepairError(str(error)) from None
    for one in asking:
        if one.target is None or not one.target < logits.shape[1]:
            raise RepairError(f"target {one.target}: the model has {logits.shape[1]} classes")
    return logits.argmax(1)
