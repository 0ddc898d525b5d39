"""A sweep over the candidate layers: how well each detects, and how well a repair there works.

A build chooses one repair; the sweep shows the alternatives. It is measured as the build's own
candidates are: on held-out samples, each with estimates that were made without its fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..choose.build_record import BuildRecord
from ..choose.choice import Candidate, clamp_range, repairing_layers_of_folds
from ..choose.held_out import HeldOut
from ..choose.threshold import FEW
from ..choose.trials import run_trials
from ..common.progress import Progress
from ..estimate.detectors import DETECTORS
from ..estimate.registry import LOCAL
from ..measure.figures import Answers, Figures, measure
from ..measure.separation import area_under_curve
from ..samples.both import Both

STRENGTHS = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class Point:
    """The figures of a repair at one layer, with one strength.

    Attributes:
        strength: the multiple of the mean shift that is subtracted, or the share of the way.
        every_input: figures with the correction on every input.
        flagged_inputs: figures with the correction on the inputs that the chosen detector flags;
            None if the choice moves every input.
    """

    strength: float
    every_input: Figures
    flagged_inputs: Figures | None


@dataclass(frozen=True)
class LayerSweep:
    """What one candidate layer does.

    Attributes:
        layer: its name.
        auc: for each detector, how well its scores separate triggered from clean samples: about 0.5
            if not at all, 1 if perfectly; None if the detector cannot be estimated.
        points: one for each strength; empty if the chosen repair cannot be estimated at this layer.
    """

    layer: str
    auc: Mapping[str, float | None]
    points: Sequence[Point]


def sweep(record: BuildRecord) -> list[LayerSweep]:
    """Measure the chosen repair, and every detector, at each candidate layer.

    Args:
        record: the record of a build's choice.

    Returns:
        One entry for each candidate layer, in their order. A local replacement has no strengths
        above 1: beyond a place's surroundings there is nothing to replace it by.
    """
    choice = record.choice
    strengths = {s for s in STRENGTHS if s <= 1 or choice.repair.estimator not in LOCAL}
    strengths.add(choice.repair.strength)
    sweeps = []
    with Progress("measuring layers", len(record.layers) * len(strengths)) as progress:
        for layer in record.layers:
            points = _points(record, layer, sorted(strengths))
            sweeps.append(LayerSweep(layer, _areas(record, layer), points))
            progress.advance(len(strengths))
    return sweeps


def _areas(record: BuildRecord, layer: str) -> dict[str, float | None]:
    """Return the AUC of each detector, among the samples that the choice may flag."""
    only_target = record.choice.only_target
    eligible = record.held_out.map(
        lambda group: (group.predictions == record.target) | (not only_target)
    )
    if int(eligible.clean.sum()) < FEW:
        # These are too few to stand for clean samples. The search then uses all of them, too.
        eligible = replace(eligible, clean=torch.ones_like(eligible.clean))
    areas: dict[str, float | None] = {}
    for detector in DETECTORS:
        scores = record.scores.get((detector, layer))
        areas[detector] = (
            None
            if scores is None
            else area_under_curve(
                scores.clean[eligible.clean], scores.triggered[eligible.triggered]
            )
        )
    return areas


def _points(record: BuildRecord, layer: str, strengths: Sequence[float]) -> list[Point]:
    """Measure the chosen repair at one layer; return nothing if it cannot be estimated there."""
    held_out, choice = record.held_out, record.choice
    clean_range = None
    if choice.form == "clamp":
        scores = record.scores.get(("mean_projection", layer))
        if scores is None:
            return []
        clean_range = clamp_range(scores.clean)
    folds = record.statistics.without_each(layer)
    estimated = {}
    for strength in strengths:
        repair = Candidate(layer, choice.repair.estimator, strength)
        layers = repairing_layers_of_folds(repair, folds, clean_range)
        if layers is None:
            return []
        estimated[strength] = layers
    every = held_out.map(lambda group: torch.ones_like(group.folds, dtype=torch.bool))
    points = []
    for strength, logits in zip(
        estimated, run_trials(record.model, held_out, list(estimated.values()), every), strict=True
    ):
        repaired = logits.map(lambda of_group: of_group.argmax(1))
        gated = None
        if choice.detector is not None:
            gated = _figures(held_out, repaired, choice.flagged, record.target)
        moved = _figures(held_out, repaired, (None, None), record.target)
        points.append(Point(strength, moved, gated))
    return points


def _figures(
    held_out: HeldOut,
    repaired: Both[Tensor],
    flagged: Both[Tensor] | tuple[None, None],
    target: int,
) -> Figures:
    """Measure with repaired predictions for the flagged samples; None: for all, unjudged."""
    clean, triggered = (
        Answers(
            group.predictions,
            after if which is None else torch.where(which, after, group.predictions),
            which,
            group.true_classes,
        )
        for group, after, which in zip(held_out, repaired, flagged, strict=True)
    )
    return measure(clean, triggered, target, held_out.triggered.partners_right)
