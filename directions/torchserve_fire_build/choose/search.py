"""The choice of detecting layer, repairing layer, estimators, strength and threshold.

Detection and repairing are chosen together, since a repair that harms clean samples needs a telling
layer that hardly ever flags one, and a harmless one does not. All of it is compared on held-out
samples alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..estimate.layer_statistics import Statistics
from ..estimate.registry import REPAIRS, SHIFTS, TRANSPORTS
from ..measure.separation import separates
from ..measure.target import TargetFinding
from .candidate_result import CandidateResult, result_of, score_detectors, unwanted_classes
from .choice import Candidate, Choice, clamp_range, repairing_layers_of_folds
from .consensus import agreed_probabilities
from .held_out import HeldOut
from .threshold import CLEAN_WEIGHT, FEW, Thresholds
from .trials import run_repairs

FIRST_REPAIRS = ("mean_difference", "local_3", "transport")
LAYERS_TO_REFINE = 3
MORE_LAYERS_TO_REFINE = 7
MANY = 100
"""Triggered samples; fewer say less surely which layers are the best, and cost less to try."""
REPAIRS_TO_REFINE = 2
STRENGTHS = (0.75, 1.25, 1.5)

Ran = tuple[Candidate, tuple[Tensor, Tensor]]
"""A candidate, and the logits of the held-out clean (N, classes) and triggered samples (M, classes)
after it."""


class Search:
    """A search over detecting layers, repairing layers, estimators and strengths.

    Args:
        model: in evaluation mode.
        statistics: of the candidate layers, fold by fold.
        layers: names of the candidate layers.
        held_out: what to compare candidates on.
        finding: where the trigger leads.
        form: one of `choose.choice.FORMS`.
        repairs: the repairs to choose from, by their names in `REPAIRS`.
    """

    def __init__(
        self,
        model: nn.Module,
        statistics: Statistics,
        layers: list[str],
        held_out: HeldOut,
        finding: TargetFinding,
        form: str,
        repairs: Collection[str] = tuple(REPAIRS),
    ) -> None:
        self._model = model
        self._repairs = repairs
        self._statistics = statistics
        self._layers = layers
        self._held_out = held_out
        self._form = form
        clean, triggered = held_out.clean, held_out.triggered
        self._wanted = finding.target if finding.single else None
        self._before = result_of(held_out, clean.logits, triggered.logits, self._wanted)
        only_target = form == "gated" and finding.single
        self._eligible = (
            (clean.predictions == finding.target) | (not only_target),
            (triggered.predictions == finding.target) | (not only_target),
        )
        self._only_target = only_target
        self._scores = score_detectors(model, statistics, layers, held_out)
        self._thresholds = {
            key: Thresholds(*scores, self._eligible, guessed=held_out.guessed)
            for key, scores in self._scores.items()
            if self._detects(*scores)
        }
        # Where hardly any clean sample may be flagged, all show what a repair would do to these.
        few = int(self._eligible[0].sum()) < FEW
        self._clean_to_run = torch.ones_like(self._eligible[0]) if few else self._eligible[0]

    def run(self) -> Choice:
        """Try the candidates and return the best.

        Every layer is tried with the first estimators; the others, and other strengths, only
        where these did best. Where nobody knows the true classes of the triggered samples, what the
        first agree on is what all are judged by.

        Raises:
            CalibrationError: no layer detects triggered samples from clean ones, or no candidate
                recovers any of the held-out triggered samples.
        """
        if self._form == "gated" and not self._thresholds:
            raise CalibrationError(
                "no layer tells the triggered samples from clean ones that the model predicts "
                "alike: are they triggered, and is this the model that they trigger?"
            )
        estimators, others = self._stages()
        few = int(self._eligible[1].sum()) < MANY
        refined = min(MORE_LAYERS_TO_REFINE if few else LAYERS_TO_REFINE, len(self._layers))
        total = len(self._layers) * len(estimators) + refined * len(others)
        with Progress("choosing layers", total + REPAIRS_TO_REFINE * len(STRENGTHS)) as progress:
            first = [Candidate(layer, e) for layer in self._layers for e in estimators]
            ran = self._run(first, progress)
            if self._held_out.triggered.reference is None:
                ran = list(ran)
                self._expect_what_is_agreed(ran)
            choices = self._judge(ran)
            best_layers = list(dict.fromkeys(choice.repair.layer for choice in choices))
            second = [Candidate(layer, e) for layer in best_layers[:refined] for e in others]
            choices = sorted(choices + self._try(second, progress), key=lambda c: -c.worth)
            third = [
                replace(choice.repair, strength=strength)
                for choice in choices[:REPAIRS_TO_REFINE]
                for strength in STRENGTHS
                if strength < 1 or self._may_exceed(choice.repair.estimator)
            ]
            choices = sorted(choices + self._try(third, progress), key=lambda c: -c.worth)
        if not _recovers(choices, self._before):
            raise CalibrationError(
                "no layer was found at which moving triggered samples back recovers them: are the "
                "triggered samples triggered, and is this the model that they trigger?"
            )
        return choices[0]

    def _stages(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the repairs to try at every layer, and those to try where these did best."""
        if self._form == "clamp":
            return ("mean_difference",), ()
        # To move every input is plain FIRE; a local replacement moves only some.
        names = set(self._repairs) & set(SHIFTS if self._form == "shift" else REPAIRS)
        # Of few to choose from, all are tried at every layer.
        first = [name for name in FIRST_REPAIRS if name in names] or sorted(names)
        return first, sorted(names - set(first))

    def _may_exceed(self, estimator: str) -> bool:
        """Whether a repair may go beyond its estimate.

        Beyond what is around a place lies nothing to replace others by, and a regression on pairs
        is the expected shift already.
        """
        return estimator in SHIFTS or (estimator in TRANSPORTS and not self._statistics.paired)

    def _detects(self, clean: Tensor, triggered: Tensor) -> bool:
        """Whether scores of clean (N,) and triggered samples (M,) tell the one from the other."""
        eligible = clean[self._eligible[0]]
        # Hardly any clean sample is predicted as the target: then all have to stand for them.
        clean = eligible if len(eligible) >= FEW else clean
        return separates(clean, triggered[self._eligible[1]])

    def _try(self, candidates: Iterable[Candidate], progress: Progress) -> list[Choice]:
        return self._judge(self._run(candidates, progress))

    def _run(self, candidates: Iterable[Candidate], progress: Progress) -> Iterable[Ran]:
        by_layer: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            by_layer.setdefault(candidate.layer, []).append(candidate)
        for of_layer in by_layer.values():
            yield from self._run_at_one_layer(of_layer)
            progress.advance(len(of_layer))

    def _run_at_one_layer(self, candidates: Sequence[Candidate]) -> Iterable[Ran]:
        estimated = {}
        for candidate in candidates:
            clean_range = self._clean_range(candidate)
            if self._form == "clamp" and clean_range is None:
                continue
            layers = repairing_layers_of_folds(candidate, self._statistics, clean_range)
            if layers is not None:
                estimated[candidate] = layers
        results = run_repairs(
            self._model,
            self._held_out,
            list(estimated.values()),
            clean=self._clean_to_run,
            triggered=self._eligible[1],
        )
        return zip(estimated, results, strict=True)

    def _expect_what_is_agreed(self, ran: Sequence[Ran]) -> None:
        """Expect of triggered samples what these candidates make of them together."""
        if not ran:
            return
        clean, triggered = self._held_out.clean, self._held_out.triggered
        # Of the others all say the same, since no repair was run on them.
        eligible = self._eligible[1]
        expected = triggered.logits.softmax(1)
        expected[eligible] = agreed_probabilities(
            [after[eligible] for _, (_, after) in ran],
            unwanted_classes(triggered, self._wanted)[eligible],
        )
        self._held_out = replace(self._held_out, triggered=replace(triggered, expected=expected))
        self._before = result_of(self._held_out, clean.logits, triggered.logits, self._wanted)

    def _judge(self, ran: Iterable[Ran]) -> list[Choice]:
        """Return what to make of each candidate, the best first."""
        choices = []
        for candidate, logits in ran:
            repaired = result_of(self._held_out, *logits, self._wanted)
            if self._form != "gated":
                choices.append(self._ungated(candidate, repaired))
            else:
                gated = [
                    self._gated(candidate, repaired, detector) for detector in self._thresholds
                ]
                choices.append(max(gated, key=lambda c: c.worth))
        return sorted(choices, key=lambda c: -c.worth)

    def _ungated(self, repair: Candidate, repaired: CandidateResult) -> Choice:
        before = self._before
        worth = CLEAN_WEIGHT * float((repaired.clean - before.clean).mean())
        worth += float((repaired.triggered - before.triggered).mean())
        return Choice(
            form=self._form,
            repair=repair,
            clean_range=self._clean_range(repair),
            detector=None,
            threshold=0.0,
            only_target=False,
            result=repaired,
            flagged=self._eligible,  # Every sample: without judging, all are moved.
            clean_scores=torch.empty(0),
            worth=worth,
        )

    def _gated(
        self, repair: Candidate, repaired: CandidateResult, detector: tuple[str, str]
    ) -> Choice:
        before, scores = self._before, self._scores[detector]
        # Clean samples are to be left alone: one that the repair happens to correct is no reason
        # to flag its like.
        clean_gain = (repaired.clean - before.clean)[self._clean_to_run].clamp(max=0)
        triggered_gain = (repaired.triggered - before.triggered)[self._eligible[1]]
        threshold = self._thresholds[detector].choose(
            float(clean_gain.mean()), float(triggered_gain.mean())
        )
        flagged = (
            self._eligible[0] & (scores[0] > threshold.value),
            self._eligible[1] & (scores[1] > threshold.value),
        )
        result = CandidateResult(
            torch.where(flagged[0], repaired.clean, before.clean),
            torch.where(flagged[1], repaired.triggered, before.triggered),
            torch.where(flagged[0], repaired.clean_predictions, before.clean_predictions),
            torch.where(flagged[1], repaired.triggered_predictions, before.triggered_predictions),
        )
        return Choice(
            form="gated",
            repair=repair,
            clean_range=None,
            detector=detector,
            threshold=threshold.value,
            only_target=self._only_target,
            result=result,
            flagged=flagged,
            clean_scores=scores[0][~flagged[0]],
            worth=threshold.worth,
        )

    def _clean_range(self, repair: Candidate) -> tuple[float, float] | None:
        """Return the upper end and the median of the clean scores where the form is the clamp."""
        scores = self._scores.get(("mean_projection", repair.layer))
        if self._form != "clamp" or scores is None:
            return None
        return clamp_range(scores[0])


def _recovers(choices: list[Choice], before: CandidateResult) -> bool:
    """Whether the best choice recovers triggered samples."""
    return bool(choices) and float((choices[0].result.triggered - before.triggered).mean()) > 0
