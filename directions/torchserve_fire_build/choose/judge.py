"""Judging candidates: how each is best used, and what it is then worth."""

from __future__ import annotations

from collections.abc import Iterable
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
from .threshold import CLEAN_WEIGHT, FEW, Thresholds


@dataclass(frozen=True)
class Trial:
    """A candidate that was tried.

    Attributes:
        candidate: the candidate.
        logits: of the held-out clean (N, classes) and triggered samples (M, classes) after it.
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
        eligible: which samples may be flagged at all, (N,) and (M,) bool.
        to_run: the samples on which a candidate is tried, (N,) and (M,) bool.
        detects: whether any detector separates triggered from clean samples.
        clamps: whether the form clips every sample to the clean range of a layer's scores.
        wanted: the class that the attacker wants; None where it is nearly any.
        before: what the held-out samples are without repair.
    """

    def __init__(
        self, held_out: HeldOut, finding: TargetFinding, form: str, scores: Scores
    ) -> None:
        self._held_out = held_out
        self._form = form
        self.clamps = form == "clamp"
        self._scores = scores
        self.wanted = finding.target if finding.single else None
        self._only_target = form == "gated" and finding.single
        self.eligible = _eligible(held_out, finding, form)
        self.to_run = samples_to_try(held_out, finding, form)
        self.before = result_of(held_out, held_out.map(lambda g: g.logits), self.wanted)
        self._few_clean = int(self.eligible.clean.sum()) < FEW
        self._thresholds = {
            key: Thresholds(score, self.eligible, guessed=held_out.guessed)
            for key, score in scores.items()
            if self._separates(score)
        }
        self.detects = bool(self._thresholds)

    def expect(self, expected: Tensor) -> None:
        """Judge triggered samples by these probabilities from now on, (M, classes) float32."""
        triggered = replace(self._held_out.triggered, expected=expected)
        self._held_out = replace(self._held_out, triggered=triggered)
        logits = self._held_out.map(lambda group: group.logits)
        self.before = result_of(self._held_out, logits, self.wanted)

    def rank(self, trials: Iterable[Trial]) -> list[Choice]:
        """Return how each candidate is best used, the most worth first."""
        choices = []
        for trial in trials:
            repaired = result_of(self._held_out, trial.logits, self.wanted)
            if self._form != "gated":
                choices.append(self._ungated(trial.candidate, repaired))
            else:
                gated = (self._gated(trial.candidate, repaired, key) for key in self._thresholds)
                choices.append(max(gated, key=lambda choice: choice.worth))
        return sorted(choices, key=lambda choice: -choice.worth)

    def clean_range(self, layer: str) -> tuple[float, float] | None:
        """Return the upper end and the median of a layer's clean scores, where the form clamps."""
        scores = self._scores.get(("mean_projection", layer))
        return None if not self.clamps or scores is None else clamp_range(scores.clean)

    def _separates(self, scores: Both[Tensor]) -> bool:
        eligible = scores.clean[self.eligible.clean]
        clean = scores.clean if self._few_clean else eligible
        return separates(clean, scores.triggered[self.eligible.triggered])

    def _ungated(self, repair: Candidate, repaired: CandidateResult) -> Choice:
        gain = self._gain(repaired)
        return Choice(
            form=self._form,
            repair=repair,
            clean_range=self.clean_range(repair.layer),
            detector=None,
            threshold=0.0,
            only_target=False,
            result=repaired,
            flagged=self.eligible,  # Every sample: without judging, all are moved.
            clean_scores=torch.empty(0),
            worth=CLEAN_WEIGHT * float(gain.clean.mean()) + float(gain.triggered.mean()),
        )

    def _gated(
        self, repair: Candidate, repaired: CandidateResult, detector: tuple[str, str]
    ) -> Choice:
        scores, gain = self._scores[detector], self._gain(repaired)
        # Clean samples are to be left alone: one that the repair happens to correct is no reason
        # to flag its like.
        clean_gain = gain.clean[self.to_run.clean].clamp(max=0)
        triggered_gain = gain.triggered[self.eligible.triggered]
        threshold = self._thresholds[detector].choose(
            float(clean_gain.mean()), float(triggered_gain.mean())
        )
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

    def _gain(self, repaired: CandidateResult) -> Both[Tensor]:
        """Return by how much more right each sample is after a repair, (N,) and (M,)."""
        after, before = repaired.rightness, self.before.rightness
        return Both(after.clean - before.clean, after.triggered - before.triggered)


def samples_to_try(held_out: HeldOut, finding: TargetFinding, form: str) -> Both[Tensor]:
    """Return the held-out samples on which candidates are tried, (N,) and (M,) bool.

    Where hardly any clean sample may be flagged, all show what a repair would do to these.

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
    """Return which samples may be flagged: of a gate for one target those predicted as it."""
    only_target = form == "gated" and finding.single
    return held_out.map(lambda group: (group.predictions == finding.target) | (not only_target))
