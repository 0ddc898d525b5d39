"""What a choice makes of samples that it was not made on.

On the samples on which candidates are compared, the best of many looks better than it is: chance
favours some of them. So the choice is cross-validated, too: it is made again without a part of the
samples, which is then answered by what was chosen (Varma and Simon: Bias in error estimation when
using cross-validation for model selection, BMC Bioinformatics 2006). The candidates' answers to all
samples are known, so the model does not run again. That they need not be trained once more is from
Tsamardinos, Greasidou and Borboudakis (Bootstrapping the out-of-sample predictions for efficient
and accurate cross-validation, Machine Learning 2018); they choose on bootstrap samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..samples.both import Both
from .judge import Judge, harm
from .threshold import CLEAN_WEIGHT

PARTS = 4
"""Parts of the samples; each is left out once. With fewer parts, the choice is worse than the one
that it stands for. With many, it goes against what is left out: a candidate that is right there is
right less often elsewhere."""

REPEATS = 25
"""How often the samples are parted."""


@dataclass(frozen=True)
class LeftOut:
    """Answers to the held-out samples, each by choices that were made without the sample.

    Attributes:
        predictions: the classes after repair, (REPEATS, N) and (REPEATS, M) int64.
        flagged: which samples were flagged, (REPEATS, N) and (REPEATS, M) bool.
    """

    predictions: Both[Tensor]
    flagged: Both[Tensor]


@dataclass(frozen=True)
class _Winner:
    """What is chosen on some of the samples.

    Attributes:
        tried: the index of the candidate in `Judge.tried`.
        detector: (detector, layer); None if every sample is moved.
        threshold: of the detector's score.
    """

    tried: int
    detector: tuple[str, str] | None = None
    threshold: float = 0.0


def choose_without_parts(judge: Judge, generator: torch.Generator) -> LeftOut:
    """Choose without random parts of the samples, and answer the samples that are left out.

    The candidates are those that the judge has judged. The detectors are those that separate
    triggered from clean samples among all held-out samples.

    Args:
        judge: has judged a candidate or more.
        generator: source of the random numbers.
    """
    parts = judge.eligible.map(lambda which: _random_parts(len(which), generator))
    choose = _choose_with_detector if judge.form == "gated" else _choose_without_detector
    winners = choose(judge, parts.map(torch.logical_not))
    # In each repeat, every sample is in one part, so every entry is filled.
    predictions = parts.map(lambda part: torch.zeros(part[::PARTS].shape, dtype=torch.int64))
    flagged = parts.map(lambda part: torch.zeros(part[::PARTS].shape, dtype=torch.bool))
    for i, winner in enumerate(winners):
        moved = _flagged_by(judge, winner)
        after = judge.tried[winner.tried].where(moved, judge.before).predictions
        for part, of_group, which, into, into_flagged in zip(
            parts, after, moved, predictions, flagged, strict=True
        ):
            left = part[i]
            into[i // PARTS, left] = of_group[left]
            into_flagged[i // PARTS, left] = which[left]
    return LeftOut(predictions, flagged)


def _random_parts(count: int, generator: torch.Generator) -> Tensor:
    """Return random parts of samples, (REPEATS * PARTS, count) bool; every `PARTS` make a whole."""
    order = torch.rand(REPEATS, count, generator=generator).argsort(1)
    return (order[:, None] % PARTS == torch.arange(PARTS)[:, None]).flatten(0, 1)


def _flagged_by(judge: Judge, winner: _Winner) -> Both[Tensor]:
    if winner.detector is None:
        return judge.eligible
    scores, eligible = judge.scores[winner.detector], judge.eligible
    return Both(
        eligible.clean & (scores.clean > winner.threshold),
        eligible.triggered & (scores.triggered > winner.threshold),
    )


def _choose_without_detector(judge: Judge, among: Both[Tensor]) -> list[_Winner]:
    gain = _gains(judge)
    worth = CLEAN_WEIGHT * _mean(gain.clean, among.clean) + _mean(gain.triggered, among.triggered)
    return [_Winner(best) for best in worth.argmax(0).tolist()]


def _choose_with_detector(judge: Judge, among: Both[Tensor]) -> list[_Winner]:
    gain = _gains(judge)
    gains = Both(
        _mean(harm(gain.clean), among.clean & judge.to_run.clean)[..., None],
        _mean(gain.triggered, among.triggered & judge.eligible.triggered)[..., None],
    )
    winners = [_Winner(0)] * len(among.clean)
    highest = torch.full((len(winners),), -math.inf)
    for detector, thresholds in judge.thresholds.items():
        # (candidates, sets, thresholds)
        worth = thresholds.worth(gains, thresholds.flagged_among(among))
        best, tried = worth.amax(2).max(0)
        for i in (best > highest).nonzero().flatten().tolist():
            highest[i] = best[i]
            threshold = thresholds.best(worth[tried[i], i]).value
            winners[i] = _Winner(int(tried[i]), detector, threshold)
    return winners


def _gains(judge: Judge) -> Both[Tensor]:
    """Return the gain of each sample by each candidate, (candidates, N) and (candidates, M)."""
    gains = [judge.gain(result) for result in judge.tried]
    stacked = Both(
        torch.stack([gain.clean for gain in gains]),
        torch.stack([gain.triggered for gain in gains]),
    )
    # Nothing is worse than a repair that makes the model return NaN.
    return stacked.map(lambda gain: gain.nan_to_num(-1.0))


def _mean(gain: Tensor, among: Tensor) -> Tensor:
    """Return the mean gain, (candidates, S), among the samples of each set, (S, N) bool."""
    taken = among.float()
    return gain @ taken.T / taken.sum(1).clamp(min=1)
