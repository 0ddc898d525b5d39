"""The choice of detecting layer, repairing layer, estimators, strength and threshold.

Detection and repair are chosen together: a repair that harms clean samples needs a detector that
hardly ever flags a clean sample, and a harmless repair does not. All candidates are compared only
on held-out samples.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Layer

from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..common.step_cache import NO_CACHE, StepCache
from ..estimate.detectors import DETECTORS
from ..estimate.layer_statistics import Statistics
from ..estimate.registry import REPAIRS, SHIFTS, TRANSPORTS
from ..measure.target import TargetFinding
from ..samples.both import Both
from .build_record import BuildRecord
from .candidate_result import unwanted_classes
from .choice import Candidate, Choice, repairing_layers_of_folds
from .consensus import agreed_probabilities
from .detector_scores import Scores, score_detectors
from .held_out import HeldOut
from .judge import Judge, Trial, samples_to_try
from .kept_features import Features, KeptFeatures
from .left_out import choose_without_parts
from .race import FirstRace, Race
from .ranking import Ranking
from .trials import GoOn, TrialRunner

FIRST_REPAIRS = ("mean_difference", "local_3", "transport", "from_others")
LAYERS_TO_REFINE = 3
MORE_LAYERS_TO_REFINE = 7
MANY = 100
"""With fewer triggered samples, it is less certain which layers are best, and trying more layers
costs less."""
REPAIRS_TO_REFINE = 2
STRENGTHS = (0.75, 1.25, 1.5)
KINDS = ("clean", "triggered")

FEW_ALIKE = 20
"""If fewer clean samples are predicted as the target, more of them may help."""


def choose(
    model: nn.Module,
    statistics: Statistics,
    layers: Sequence[str],
    held_out: HeldOut,
    finding: TargetFinding,
    *,
    form: str = "gated",
    repairs: Collection[str] | None = None,
    cache: StepCache = NO_CACHE,
    progress_title: str = "choosing layers",
) -> BuildRecord:
    """Try candidates and choose the best.

    The first estimators are tried at every layer. The other estimators, and other strengths, are
    tried only where these did best. If the true classes of the triggered samples are unknown, all
    candidates are judged by the probabilities that the first ones agree on.

    Args:
        model: in evaluation mode.
        statistics: of the candidate layers, fold by fold.
        layers: names of the candidate layers.
        held_out: the samples to compare candidates on.
        finding: where the trigger leads.
        form: one of `choose.choice.FORMS`.
        repairs: names in `estimate.registry.REPAIRS` to choose from; None for all.
        cache: keeps the detectors' scores, and what each layer's trials result in.
        progress_title: what the progress is called.

    Raises:
        CalibrationError: no layer separates triggered samples from clean ones, or no candidate
            recovers any of the held-out triggered samples.
    """
    scoring = _Scoring(model, statistics, layers, held_out, samples_to_try(held_out, finding, form))
    scores = scoring.scores(cache)
    judge = Judge(held_out, finding, form, scores)
    if form == "gated" and not judge.detects:
        raise CalibrationError(_nothing_separates(judge))
    first, others = _stages(form, REPAIRS if repairs is None else repairs)
    few = int(judge.eligible.triggered.sum()) < MANY
    refined = min(MORE_LAYERS_TO_REFINE if few else LAYERS_TO_REFINE, len(layers))
    total = len(layers) * len(first) + refined * len(others) + REPAIRS_TO_REFINE * len(STRENGTHS)
    ranking = Ranking()
    with Progress(progress_title, total) as progress:
        runner = TrialRunner(model, held_out, judge.to_run, scoring.features)

        def run(
            stage: str, candidates: Sequence[Candidate], race: Race | None, *, scouted: bool = False
        ) -> Iterator[Trial]:
            ranking.announce(candidates)
            of_stage = _Stage(runner, statistics, judge, candidates, cache.within(stage))
            return of_stage.run(race, progress, scouted=scouted)

        initial = [Candidate(layer, e) for layer in layers for e in first]
        if held_out.triggered.reference is None:
            trials = list(run("first", initial, None))
            _expect_what_is_agreed(judge, held_out, trials)
            ranking.add(map(judge.use, trials))
        else:
            first_race = FirstRace(judge, ranking, REPAIRS_TO_REFINE, refined)
            ranking.add(map(judge.use, run("first", initial, first_race, scouted=True)))
        second = [Candidate(layer, e) for layer in ranking.layers[:refined] for e in others]
        others_race = Race(judge, ranking, REPAIRS_TO_REFINE)
        ranking.add(map(judge.use, run("others", second, others_race)))
        third = [
            replace(choice.repair, strength=strength)
            for choice in ranking.choices[:REPAIRS_TO_REFINE]
            for strength in STRENGTHS
            if strength < 1 or _may_exceed(choice.repair.estimator, statistics)
        ]
        ranking.add(map(judge.use, run("strengths", third, Race(judge, ranking, 1))))
    choices = ranking.choices
    if not _recovers(choices, judge):
        raise CalibrationError(
            "no layer was found at which moving triggered samples back recovers them: are the "
            "triggered samples triggered, and is this the model that they trigger?"
        )
    left_out = choose_without_parts(judge, torch.Generator().manual_seed(0))
    return BuildRecord(
        model, layers, statistics, held_out, scores, finding.target, choices[0], left_out
    )


def _nothing_separates(judge: Judge) -> str:
    alike = int(judge.eligible.clean.sum())
    message = (
        f"no layer separates the triggered samples from the {alike} clean ones that the model "
        "predicts alike: are they triggered, and is this the model that they trigger?"
    )
    if judge.wanted is not None and alike < FEW_ALIKE:
        # Of so few, some triggered ones among them are a large share.
        message += f" If they are, add clean samples of class {judge.wanted}"
    return message


def _stages(form: str, repairs: Collection[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the repairs to try at every layer, and those to try at the best layers only."""
    if form == "clamp":
        return ("mean_difference",), ()
    # Plain FIRE moves every input; other repairs than shifts do not move all of them alike.
    names = set(repairs) & set(SHIFTS if form == "shift" else REPAIRS)
    # If none of the first repairs may be chosen, all others are tried at every layer.
    first = [name for name in FIRST_REPAIRS if name in names] or sorted(names)
    return first, sorted(names - set(first))


def _may_exceed(estimator: str, statistics: Statistics) -> bool:
    """Return whether a repair may be stronger than its estimate.

    A local replacement may not: beyond a place's surroundings there is nothing to replace it by.
    Nor may a transport from pairs: its regression predicts the whole shift already.
    """
    return estimator in SHIFTS or (estimator in TRANSPORTS and not statistics.paired)


class _Stage:
    """A stage of the search: tries candidates; those of one layer are tried together.

    Args:
        runner: runs the held-out samples.
        statistics: of the layers, fold by fold.
        judge: judges the candidates.
        candidates: the candidates to try.
        cache: keeps the logits of each layer's candidates.
    """

    def __init__(
        self,
        runner: TrialRunner,
        statistics: Statistics,
        judge: Judge,
        candidates: Iterable[Candidate],
        cache: StepCache,
    ) -> None:
        self._runner, self._statistics, self._judge = runner, statistics, judge
        self._cache = cache
        self._by_layer: dict[str, list[Candidate]] = {}
        for candidate in candidates:
            self._by_layer.setdefault(candidate.layer, []).append(candidate)

    def run(self, race: Race | None, progress: Progress, *, scouted: bool) -> Iterator[Trial]:
        """Yield the trials of the candidates, layer by layer.

        Args:
            race: says which candidates are stopped; None to stop none.
            progress: counts the candidates.
            scouted: whether a part of the samples is run at every layer first, to begin with the
                layers where that promises most. Else they come in the order of the candidates.
        """
        layers = list(self._by_layer)
        known = {layer: self._first_part(layer) for layer in layers} if scouted else {}
        if scouted:
            layers.sort(key=lambda layer: -self._promise(known[layer]))
        for layer in layers:
            estimated = self._estimated(layer)
            go_on = None if race is None else race.go_on
            results = self._trials(layer, list(estimated.values()), go_on, known.get(layer))
            for candidate, logits in zip(estimated, results, strict=True):
                if logits is not None:
                    yield Trial(candidate, logits)
            progress.advance(len(self._by_layer[layer]))

    def _estimated(self, layer: str) -> dict[Candidate, list[Layer]]:
        """Return a layer's candidates that can be estimated, each with its repair for each fold."""
        clean_range = self._judge.clean_range(layer)
        # A clamp needs the range of the clean scores. Not every layer has scores.
        if self._judge.clamps and clean_range is None:
            return {}
        folds, estimated = self._statistics.without_each(layer), {}
        for candidate in self._by_layer[layer]:
            layers = repairing_layers_of_folds(candidate, folds, clean_range)
            if layers:
                estimated[candidate] = layers
        return estimated

    def _first_part(self, layer: str) -> Tensor | None:
        """Return the logits of the first part, (repairs, n, classes), from the cache if there.

        None if no candidate of the layer can be estimated.
        """

        def run() -> dict[str, Tensor]:
            repairs = list(self._estimated(layer).values())
            return {"logits": self._runner.run_first_part(repairs)} if repairs else {}

        return self._cache.result(f"first part at {layer}", run).get("logits")

    def _promise(self, known: Tensor | None) -> float:
        """Return the most that a candidate of a layer gains on the first part."""
        rows = self._runner.first_part
        of_each = [] if known is None else [self._judge.promise(rows, logits) for logits in known]
        return max((gain for gain in of_each if not math.isnan(gain)), default=-math.inf)

    def _trials(
        self,
        layer: str,
        repairs: Sequence[Sequence[Layer]],
        go_on: GoOn | None,
        known: Tensor | None,
    ) -> list[Both[Tensor] | None]:
        """Return what `TrialRunner.run` does, from the cache if it is there."""

        def run() -> dict[str, Tensor]:
            return {
                f"{i}.{kind}": logits
                for i, both in enumerate(self._runner.run(repairs, go_on, known))
                if both is not None
                for kind, logits in zip(KINDS, both, strict=True)
            }

        tensors = self._cache.result(f"trials at {layer}", run)
        return [
            Both(*(tensors[f"{i}.{kind}"] for kind in KINDS))
            if f"{i}.{KINDS[0]}" in tensors
            else None
            for i in range(len(repairs))
        ]


class _Scoring:
    """The detectors' scores, and the features that are kept from the pass which computes them.

    Args:
        model: in evaluation mode.
        statistics: of the candidate layers, fold by fold.
        layers: names of the candidate layers.
        held_out: the samples.
        which: the samples that are tried, whose features are kept, (N,) and (M,) bool.
    """

    def __init__(
        self,
        model: nn.Module,
        statistics: Statistics,
        layers: Sequence[str],
        held_out: HeldOut,
        which: Both[Tensor],
    ) -> None:
        self._layers = layers
        of_fold = statistics.folds[0]
        shapes = {layer: of_fold[layer].shape for layer in layers if not of_fold[layer].any_length}
        self._kept = KeptFeatures(which, shapes)
        self._run = partial(score_detectors, model, statistics, layers, held_out, kept=self._kept)
        self._has_run = False

    def scores(self, cache: StepCache) -> Scores:
        """Return the scores, from the cache if they are there."""

        def run() -> dict[str, Tensor]:
            self._has_run = True
            return {
                _scores_name(*key, kind): scores
                for key, both in self._run().items()
                for kind, scores in zip(KINDS, both, strict=True)
            }

        tensors = cache.result("scores", run)
        # In their order: of detectors that are as good, the first is taken.
        return {
            (detector, layer): Both(*(tensors[_scores_name(detector, layer, k)] for k in KINDS))
            for detector in DETECTORS
            for layer in self._layers
            if _scores_name(detector, layer, KINDS[0]) in tensors
        }

    def features(self) -> Features:
        """Return the features that are kept; the pass is run for them if it has not been yet."""
        if not self._has_run:
            self._has_run = True
            self._run()
        return self._kept.features


def _scores_name(detector: str, layer: str, kind: str) -> str:
    return f"{detector} at {layer}: {kind}"


def _expect_what_is_agreed(judge: Judge, held_out: HeldOut, trials: Sequence[Trial]) -> None:
    """Make the judge expect of triggered samples what these candidates agree on."""
    if not trials:
        return
    triggered, eligible = held_out.triggered, judge.eligible.triggered
    # No repair was run on the other samples, so their probabilities are those before repair.
    expected = triggered.logits.softmax(1)
    expected[eligible] = agreed_probabilities(
        [trial.logits.triggered[eligible] for trial in trials],
        unwanted_classes(triggered, judge.wanted)[eligible],
    )
    judge.expect(expected)


def _recovers(choices: Sequence[Choice], judge: Judge) -> bool:
    """Return whether the best choice recovers triggered samples."""
    if not choices:
        return False
    after = choices[0].result.rightness.triggered
    return float((after - judge.before.rightness.triggered).mean()) > 0
