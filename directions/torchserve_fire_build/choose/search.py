"""The choice of detecting layer, repairing layer, estimators, strength and threshold.

Detection and repair are chosen together: a repair that harms clean samples needs a detector that
hardly ever flags one, and a harmless one does not. All of it is compared on held-out samples alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from torch import nn

from torchserve_fire.format.bundle import Layer

from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..estimate.layer_statistics import Statistics
from ..estimate.registry import REPAIRS, SHIFTS, TRANSPORTS
from ..measure.target import TargetFinding
from .build_record import BuildRecord
from .candidate_result import unwanted_classes
from .choice import Candidate, Choice, repairing_layers_of_folds
from .consensus import agreed_probabilities
from .detector_scores import score_detectors
from .held_out import HeldOut
from .judge import Judge, Trial, samples_to_try
from .kept_features import Features, KeptFeatures
from .trials import run_trials

FIRST_REPAIRS = ("mean_difference", "local_3", "transport")
LAYERS_TO_REFINE = 3
MORE_LAYERS_TO_REFINE = 7
MANY = 100
"""Triggered samples; fewer say less surely which layers are the best, and cost less to try."""
REPAIRS_TO_REFINE = 2
STRENGTHS = (0.75, 1.25, 1.5)


def choose(
    model: nn.Module,
    statistics: Statistics,
    layers: Sequence[str],
    held_out: HeldOut,
    finding: TargetFinding,
    *,
    form: str = "gated",
    repairs: Collection[str] | None = None,
) -> BuildRecord:
    """Try candidates and settle on the best.

    Every layer is tried with the first estimators; the others, and other strengths, only where
    these did best. Where nobody knows the true classes of the triggered samples, what the first
    agree on is what all are judged by.

    Args:
        model: in evaluation mode.
        statistics: of the candidate layers, fold by fold.
        layers: names of the candidate layers.
        held_out: what to compare candidates on.
        finding: where the trigger leads.
        form: one of `choose.choice.FORMS`.
        repairs: names in `estimate.registry.REPAIRS` to choose from; None for all.

    Raises:
        CalibrationError: no layer tells triggered samples from clean ones, or no candidate
            recovers any of the held-out triggered samples.
    """
    kept = KeptFeatures(samples_to_try(held_out, finding, form))
    scores = score_detectors(model, statistics, layers, held_out, kept)
    judge = Judge(held_out, finding, form, scores)
    if form == "gated" and not judge.detects:
        raise CalibrationError(
            "no layer tells the triggered samples from clean ones that the model predicts "
            "alike: are they triggered, and is this the model that they trigger?"
        )
    first, others = _stages(form, REPAIRS if repairs is None else repairs)
    few = int(judge.eligible.triggered.sum()) < MANY
    refined = min(MORE_LAYERS_TO_REFINE if few else LAYERS_TO_REFINE, len(layers))
    total = len(layers) * len(first) + refined * len(others) + REPAIRS_TO_REFINE * len(STRENGTHS)
    with Progress("choosing layers", total) as progress:

        def run(candidates: Iterable[Candidate]) -> Iterator[Trial]:
            return _run(model, statistics, held_out, judge, kept.features, candidates, progress)

        trials: Iterable[Trial] = run([Candidate(layer, e) for layer in layers for e in first])
        if held_out.triggered.reference is None:
            trials = list(trials)
            _expect_what_is_agreed(judge, held_out, trials)
        choices = judge.rank(trials)
        best_layers = list(dict.fromkeys(choice.repair.layer for choice in choices))
        second = [Candidate(layer, e) for layer in best_layers[:refined] for e in others]
        choices = _ranked(choices + judge.rank(run(second)))
        third = [
            replace(choice.repair, strength=strength)
            for choice in choices[:REPAIRS_TO_REFINE]
            for strength in STRENGTHS
            if strength < 1 or _may_exceed(choice.repair.estimator, statistics)
        ]
        choices = _ranked(choices + judge.rank(run(third)))
    if not _recovers(choices, judge):
        raise CalibrationError(
            "no layer was found at which moving triggered samples back recovers them: are the "
            "triggered samples triggered, and is this the model that they trigger?"
        )
    return BuildRecord(model, layers, statistics, held_out, scores, finding.target, choices[0])


def _stages(form: str, repairs: Collection[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the repairs to try at every layer, and those to try where these did best."""
    if form == "clamp":
        return ("mean_difference",), ()
    # To move every input is plain FIRE; a local replacement moves only some.
    names = set(repairs) & set(SHIFTS if form == "shift" else REPAIRS)
    # Of few to choose from, all are tried at every layer.
    first = [name for name in FIRST_REPAIRS if name in names] or sorted(names)
    return first, sorted(names - set(first))


def _may_exceed(estimator: str, statistics: Statistics) -> bool:
    """Whether a repair may go beyond its estimate.

    Beyond what is around a place lies nothing to replace others by, and a regression on pairs is
    the expected shift already.
    """
    return estimator in SHIFTS or (estimator in TRANSPORTS and not statistics.paired)


def _run(
    model: nn.Module,
    statistics: Statistics,
    held_out: HeldOut,
    judge: Judge,
    features: Features,
    candidates: Iterable[Candidate],
    progress: Progress,
) -> Iterator[Trial]:
    """Try candidates, those of a layer together."""
    by_layer: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_layer.setdefault(candidate.layer, []).append(candidate)
    for layer, of_layer in by_layer.items():
        clean_range = judge.clean_range(layer)
        estimated: dict[Candidate, list[Layer]] = {}
        # A clamp needs the range of the clean scores, which not every layer has.
        folds = [] if judge.clamps and clean_range is None else statistics.without_each(layer)
        for candidate in of_layer:
            layers = repairing_layers_of_folds(candidate, folds, clean_range)
            if layers:
                estimated[candidate] = layers
        results = run_trials(
            model, held_out, list(estimated.values()), judge.to_run, features.get(layer)
        )
        for candidate, logits in zip(estimated, results, strict=True):
            yield Trial(candidate, logits)
        progress.advance(len(of_layer))


def _expect_what_is_agreed(judge: Judge, held_out: HeldOut, trials: Sequence[Trial]) -> None:
    """Expect of triggered samples what these candidates make of them together."""
    if not trials:
        return
    triggered, eligible = held_out.triggered, judge.eligible.triggered
    # Of the others all say the same, since no repair was run on them.
    expected = triggered.logits.softmax(1)
    expected[eligible] = agreed_probabilities(
        [trial.logits.triggered[eligible] for trial in trials],
        unwanted_classes(triggered, judge.wanted)[eligible],
    )
    judge.expect(expected)


def _ranked(choices: Iterable[Choice]) -> list[Choice]:
    return sorted(choices, key=lambda choice: -choice.worth)


def _recovers(choices: Sequence[Choice], judge: Judge) -> bool:
    """Whether the best choice recovers triggered samples."""
    if not choices:
        return False
    after = choices[0].result.rightness.triggered
    return float((after - judge.before.rightness.triggered).mean()) > 0
