"""Judging candidates: how a candidate is best used, and what it is then worth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..measure.separation import separates
from ..measure.target import TargetFinding
from ..samples.both import Both
from .candidate_result import CandidateResult, result_of
from .choice import Candidate, Choice, clamp_range
from .detector_scores import Scores
from .held_out import HeldOut
from .threshold import CLEAN_WEIGHT, FEW, Thresholds, WorthBound

ENOUGH = 12
"""The fewest samples from which it is concluded how a candidate fares on others."""

DEVIATIONS = 3.0
"""How many standard deviations below a rival a candidate has to lie to be stopped. There are a
hundred candidates, of which none should be lost by chance."""


@dataclass(frozen=True)
class Trial:
    """A candidate that was tried.

    Attributes:
        candidate: the candidate.
        logits: the logits of the held-out clean (N, classes) and triggered samples (M, classes)
            after the repair.
    """

    candidate: Candidate
    logits: Both[Tensor]


class Judge:
    """Judges candidates on held-out samples.

    Args:
        held_out: the samples.
        finding: where the trigger leads.
        form: one of `choose.choice.FORMS`.
        scores: of the samples, by every detector at every layer.

    Attributes:
        form: how a repair is used.
        scores: of the samples, by every detector at every layer.
        eligible: which samples may be flagged at all, (N,) and (M,) bool.
        to_run: the samples on which a candidate is tried, (N,) and (M,) bool.
        detects: whether any detector separates triggered from clean samples.
        clamps: whether the form clips every sample to the clean range of a layer's scores.
        wanted: the class that the attacker wants; None if it is nearly any.
        before: the result on the held-out samples without repair.
        thresholds: those of the detectors that separate triggered from clean samples.
        tried: the results of the candidates that were judged, with the repair on every sample.
    """

    def __init__(
        self, held_out: HeldOut, finding: TargetFinding, form: str, scores: Scores
    ) -> None:
        self._held_out = held_out
        self.form = form
        self.clamps = form == "clamp"
        self.scores = scores
        self.tried: list[CandidateResult] = []
        self._tried_of: dict[Candidate, CandidateResult] = {}
        self.wanted = finding.target if finding.single else None
        self._only_target = form == "gated" and finding.single
        self.eligible = _eligible(held_out, finding, form)
        self.to_run = samples_to_try(held_out, finding, form)
        self.before = result_of(held_out, held_out.map(lambda g: g.logits), self.wanted)
        self._few_clean = int(self.eligible.clean.sum()) < FEW
        self.thresholds = {
            key: Thresholds(score, self.eligible, guessed=held_out.guessed)
            for key, score in scores.items()
            if self._separates(score)
        }
        self.detects = bool(self.thresholds)
        if self.detects:
            self._bound = WorthBound(list(self.thresholds.values()))

    def expect(self, expected: Tensor) -> None:
        """From now on, expect these probabilities of triggered samples, (M, classes) float32."""
        triggered = replace(self._held_out.triggered, expected=expected)
        self._held_out = replace(self._held_out, triggered=triggered)
        logits = self._held_out.map(lambda group: group.logits)
        self.before = result_of(self._held_out, logits, self.wanted)

    def use(self, trial: Trial) -> Choice:
        """Return how a candidate is best used, and what it is then worth."""
        repaired = result_of(self._held_out, trial.logits, self.wanted)
        self.tried.append(repaired)
        self._tried_of[trial.candidate] = repaired
        if self.form != "gated":
            return self._ungated(trial.candidate, repaired)
        return self._gated(trial.candidate, repaired)

    def gain_of(self, logits: Both[Tensor]) -> Both[Tensor]:
        """Return by how much more right each sample, (N,) and (M,), is with other logits."""
        return self.gain(result_of(self._held_out, logits, self.wanted))

    def promise(self, rows: Tensor, logits: Tensor) -> float:
        """Return how much more right triggered samples are after a repair, on average.

        Args:
            rows: their indices, (n,) int64.
            logits: their logits after the repair, (n, classes).
        """
        all_logits = self._held_out.map(lambda group: group.logits.clone())
        all_logits.triggered[rows] = logits
        return float(self.gain_of(all_logits).triggered[rows].mean())

    def most_worth(self, logits: Both[Tensor], done: Both[Tensor], rival: Candidate) -> float:
        """Return what a candidate is worth at most, but for chance.

        It is worth most if it is right on all samples still to run. On many triggered samples, what
        it may gain more than a rival on those still to run is also known from those that it was
        tried on.

        Args:
            logits: of the held-out clean (N, classes) and triggered samples (M, classes).
            done: the samples that the candidate was tried on, (N,) and (M,) bool.
            rival: a candidate that was judged.
        """
        before = self.before.rightness
        gain = self.gain_of(logits)
        gain = Both(
            torch.where(done.clean, gain.clean, 1 - before.clean),
            torch.where(done.triggered, gain.triggered, 1 - before.triggered),
        )
        if self.form != "gated":
            return _ungated_worth(gain)
        clean, triggered = self._mean_gains(gain)
        which = self.eligible.triggered
        beside = self.gain(self._tried_of[rival]).triggered
        more = most_mean((gain.triggered - beside)[which & done.triggered], int(which.sum()))
        return self._bound.of(clean, min(triggered, float(beside[which].mean()) + more))

    def clean_range(self, layer: str) -> tuple[float, float] | None:
        """Return the upper end and the median of a layer's clean scores if the form clamps."""
        scores = self.scores.get(("mean_projection", layer))
        return None if not self.clamps or scores is None else clamp_range(scores.clean)

    def _separates(self, scores: Both[Tensor]) -> bool:
        eligible = scores.clean[self.eligible.clean]
        clean = scores.clean if self._few_clean else eligible
        return separates(clean, scores.triggered[self.eligible.triggered])

    def _ungated(self, repair: Candidate, repaired: CandidateResult) -> Choice:
        gain = self.gain(repaired)
        return Choice(
            form=self.form,
            repair=repair,
            clean_range=self.clean_range(repair.layer),
            detector=None,
            threshold=0.0,
            only_target=False,
            result=repaired,
            flagged=self.eligible,  # Every sample: without a detector, all are moved.
            clean_scores=torch.empty(0),
            worth=_ungated_worth(gain),
        )

    def _gated(self, repair: Candidate, repaired: CandidateResult) -> Choice:
        """Return the choice with the detector by which the repair is worth most."""
        gains = self._mean_gains(self.gain(repaired))
        chosen = {key: options.choose(*gains) for key, options in self.thresholds.items()}
        detector, threshold = max(chosen.items(), key=lambda item: item[1].worth)
        scores = self.scores[detector]
        flagged = Both(
            self.eligible.clean & (scores.clean > threshold.value),
            self.eligible.triggered & (scores.triggered > threshold.value),
        )
        return Choice(
            form="gated",
            repair=repair,
            clean_range=None,
            detector=detector,
            threshold=threshold.value,
            only_target=self._only_target,
            result=repaired.where(flagged, self.before),
            flagged=flagged,
            clean_scores=scores.clean[~flagged.clean],
            worth=threshold.worth,
        )

    def _mean_gains(self, gain: Both[Tensor]) -> tuple[float, float]:
        """Return the mean gain of a flagged clean sample and of a flagged triggered sample."""
        clean = harm(gain.clean[self.to_run.clean])
        return float(clean.mean()), float(gain.triggered[self.eligible.triggered].mean())

    def gain(self, repaired: CandidateResult) -> Both[Tensor]:
        """Return by how much more right each sample is after a repair, (N,) and (M,)."""
        after, before = repaired.rightness, self.before.rightness
        return Both(after.clean - before.clean, after.triggered - before.triggered)


def most_mean(seen: Tensor, count: int) -> float:
    """Return what the mean of numbers of at most 1 is at most, but for chance.

    Args:
        seen: those that are known, (n,), drawn at random.
        count: how many there are.

    Returns:
        The mean plus `DEVIATIONS` of its standard deviations, as if one more had been seen: a 1, so
        that what is rare is not ruled out. 1 if fewer than `ENOUGH` are known.
    """
    if len(seen) == count:
        return float(seen.mean())
    if len(seen) < ENOUGH:
        return 1.0
    seen = torch.cat([seen, torch.ones(1)])
    left = max(0.0, 1 / len(seen) - 1 / count)
    return float(seen.mean() + DEVIATIONS * seen.std() * left**0.5)


def harm(clean_gain: Tensor) -> Tensor:
    """Return the gain of flagged clean samples as it counts, of the same shape.

    Clean samples should be left alone. If a repair happens to correct one, that is no reason to
    flag such samples.
    """
    return clean_gain.clamp(max=0)


def _ungated_worth(gain: Both[Tensor]) -> float:
    return CLEAN_WEIGHT * float(gain.clean.mean()) + float(gain.triggered.mean())


def samples_to_try(held_out: HeldOut, finding: TargetFinding, form: str) -> Both[Tensor]:
    """Return the held-out samples on which candidates are tried, (N,) and (M,) bool.

    These are the samples that may be flagged. If too few clean samples may be flagged, all clean
    samples are tried, and show what a repair would do to flagged ones.

    Args:
        held_out: the samples.
        finding: where the trigger leads.
        form: one of `choose.choice.FORMS`.
    """
    eligible = _eligible(held_out, finding, form)
    if int(eligible.clean.sum()) >= FEW:
        return eligible
    return replace(eligible, clean=torch.ones_like(eligible.clean))


def _eligible(held_out: HeldOut, finding: TargetFinding, form: str) -> Both[Tensor]:
    """Return which samples may be flagged: with one target, only those predicted as it."""
    only_target = form == "gated" and finding.single
    return held_out.map(lambda group: (group.predictions == finding.target) | (not only_target))
