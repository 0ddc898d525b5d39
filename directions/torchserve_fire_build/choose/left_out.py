"""What a choice makes of samples that it was not made on.

On the samples on which candidates are compared, the best of many looks better than it is: chance
favours some of them. So the choice is made again on random halves of the samples, and each time the
other half is left out, to measure what was chosen. The candidates' results on all samples are
known, so the model does not run again.

This is the bootstrap bias correction of Tsamardinos, Greasidou and Borboudakis (Bootstrapping the
out-of-sample predictions for efficient and accurate cross-validation, Machine Learning 2018), with
halves in place of bootstrap samples. What chance does varies as much from half to half as from one
bootstrap sample to the next (McCarthy: Pseudo-replication: half samples, 1969), and every sample is
left out equally often.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..samples.both import Both
from .judge import Judge, harm
from .threshold import CLEAN_WEIGHT

HALVINGS = 50
"""How often the samples are halved; both halves are used."""


@dataclass(frozen=True)
class LeftOut:
    """Answers to the held-out samples, each by choices that were made without the sample.

    Attributes:
        predictions: the classes after repair, (HALVINGS, N) and (HALVINGS, M) int64.
        flagged: which samples were flagged, (HALVINGS, N) and (HALVINGS, M) bool.
    """

    predictions: Both[Tensor]
    flagged: Both[Tensor]


@dataclass(frozen=True)
class _Winner:
    """What is chosen on a half.

    Attributes:
        tried: the index of the candidate in `Judge.tried`.
        detector: (detector, layer); None if every sample is moved.
        threshold: of the detector's score.
    """

    tried: int
    detector: tuple[str, str] | None = None
    threshold: float = 0.0


def choose_on_halves(judge: Judge, generator: torch.Generator) -> LeftOut:
    """Choose on random halves of the samples, and answer the samples that are left out.

    The candidates are those that the judge has judged. The detectors are those that separate
    triggered from clean samples among all held-out samples.

    Args:
        judge: has judged a candidate or more.
        generator: source of the random numbers.
    """
    halves = judge.eligible.map(lambda which: _halves(len(which), generator))
    choose = _choose_with_detector if judge.form == "gated" else _choose_without_detector
    winners = choose(judge, halves)
    # The samples that one half leaves out are the other half, so every entry is filled.
    predictions = halves.map(lambda half: torch.zeros(half[::2].shape, dtype=torch.int64))
    flagged = halves.map(lambda half: torch.zeros(half[::2].shape, dtype=torch.bool))
    for i, winner in enumerate(winners):
        moved = _flagged_by(judge, winner)
        after = judge.tried[winner.tried].where(moved, judge.before).predictions
        for half, of_group, which, into, into_flagged in zip(
            halves, after, moved, predictions, flagged, strict=True
        ):
            left = ~half[i]
            into[i // 2, left] = of_group[left]
            into_flagged[i // 2, left] = which[left]
    return LeftOut(predictions, flagged)


def _halves(count: int, generator: torch.Generator) -> Tensor:
    """Return random halves of samples, (2 * HALVINGS, count) bool; every two make a whole."""
    orders = torch.rand(HALVINGS, count, generator=generator).argsort(1)
    first = orders < count // 2
    return torch.stack([first, ~first], 1).flatten(0, 1)


def _flagged_by(judge: Judge, winner: _Winner) -> Both[Tensor]:
    if winner.detector is None:
        return judge.eligible
    scores, eligible = judge.scores[winner.detector], judge.eligible
    return Both(
        eligible.clean & (scores.clean > winner.threshold),
        eligible.triggered & (scores.triggered > winner.threshold),
    )


def _choose_without_detector(judge: Judge, halves: Both[Tensor]) -> list[_Winner]:
    gain = _gains(judge)
    worth = CLEAN_WEIGHT * _mean(gain.clean, halves.clean) + _mean(gain.triggered, halves.triggered)
    return [_Winner(best) for best in worth.argmax(0).tolist()]


def _choose_with_detector(judge: Judge, halves: Both[Tensor]) -> list[_Winner]:
    gain = _gains(judge)
    gains = Both(
        _mean(harm(gain.clean), halves.clean & judge.to_run.clean)[..., None],
        _mean(gain.triggered, halves.triggered & judge.eligible.triggered)[..., None],
    )
    winners = [_Winner(0)] * len(halves.clean)
    highest = torch.full((len(winners),), -math.inf)
    for detector, thresholds in judge.thresholds.items():
        # (candidates, halves, thresholds)
        worth = thresholds.worth(gains, thresholds.flagged_among(halves))
        best, tried = worth.amax(2).max(0)
        for i in (best > highest).nonzero().flatten().tolist():
            highest[i] = best[i]
            threshold = thresholds.best(worth[tried[i], i]).value
            winners[i] = _Winner(int(tried[i]), detector, threshold)
    return winners


def _gains(judge: Judge) -> Both[Tensor]:
    """Return the gain of each sample by each candidate, (candidates, N) and (candidates, M)."""
    gains = [judge.gain(result) for result in judge.tried]
    return Both(
        torch.stack([gain.clean for gain in gains]),
        torch.stack([gain.triggered for gain in gains]),
    )


def _mean(gain: Tensor, among: Tensor) -> Tensor:
    """Return the mean gain, (candidates, S), among the samples of each set, (S, N) bool."""
    taken = among.float()
    return gain @ taken.T / taken.sum(1).clamp(min=1)
