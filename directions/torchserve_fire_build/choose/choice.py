"""A candidate repair, and the choice that is made among candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchserve_fire.format.bundle import Layer
from torchserve_fire.format.correction_forms import Clamp

from ..common.errors import CalibrationError
from ..estimate.detectors import estimate_detector, mean_projection
from ..estimate.layer_statistics import LayerStatistics, Statistics
from ..estimate.registry import REPAIRS
from ..samples.both import Both
from .candidate_result import CandidateResult

FORMS = ("gated", "shift", "clamp")
CLAMP_QUANTILE = 0.99


@dataclass(frozen=True)
class Candidate:
    """A repair to try: at which layer, from which estimator, how strong."""

    layer: str
    estimator: str
    strength: float = 1.0


@dataclass(frozen=True)
class Choice:
    """How one candidate repair is used, and what it is worth.

    Attributes:
        form: "gated" repairs flagged samples; "shift" moves every sample; "clamp" moves every
            sample whose projection exceeds its clean range.
        repair: the repair.
        clean_range: for the clamp, the upper end and the median of the clean scores; else None.
        detector: (detector, layer) that flags samples; None if every sample is moved.
        threshold: threshold of the detector's score; without meaning if there is no detector.
        only_target: whether only samples that are predicted as the target are flagged.
        result: the result on the held-out samples.
        flagged: which held-out clean (N,) and triggered samples (M,) are flagged, bool.
        clean_scores: the detector's scores of the held-out clean samples that are not flagged,
            (K,); empty without a detector.
        worth: the number by which choices are compared.
    """

    form: str
    repair: Candidate
    clean_range: tuple[float, float] | None
    detector: tuple[str, str] | None
    threshold: float
    only_target: bool
    result: CandidateResult
    flagged: Both[Tensor]
    clean_scores: Tensor
    worth: float

    def describe(self) -> list[str]:
        """Return where it detects and where it repairs, in a line each."""
        lines = []
        if self.detector is not None:
            lines.append(f"detects: {self.detector[1]} ({self.detector[0]})")
        repair = self.repair
        return [
            *lines,
            f"repairs: {repair.layer} ({repair.estimator}, strength {repair.strength:g})",
        ]

    def layers(self, statistics: Statistics, without: int | None = None) -> tuple[Layer, ...]:
        """Return the bundle's layers.

        Args:
            statistics: of the candidate layers, fold by fold.
            without: the fold whose samples they are not estimated from; None for all samples.
        """

        def statistics_of(layer: str) -> LayerStatistics:
            if without is None:
                return statistics.whole(layer)
            return statistics.without(without, layer)

        of_repair = statistics_of(self.repair.layer)
        repairing = build_repairing_layer(self.repair, of_repair, self.clean_range)
        if repairing is None:
            raise CalibrationError(
                f"layer {self.repair.layer!r}: {self.repair.estimator} cannot be estimated from "
                "all samples"
            )
        if self.detector is None:
            return (repairing,)
        name, layer = self.detector
        of_detector = statistics_of(layer)
        estimated = estimate_detector(name, of_detector)
        if estimated is None:
            raise CalibrationError(f"layer {layer!r}: {name} cannot be estimated from all samples")
        detection = estimated.detection(
            self.threshold,
            self.clean_scores,
            only_target=self.only_target,
            padding=of_detector.padding,
        )
        if layer == self.repair.layer:
            return (replace(repairing, detection=detection),)
        any_length = of_detector.any_length
        detecting = Layer(layer, of_detector.shape, detection=detection, any_length=any_length)
        return (detecting, repairing)


def clamp_range(clean_scores: Tensor) -> tuple[float, float]:
    """Return the upper end and the median of the clean samples' scores, (N,)."""
    return float(clean_scores.quantile(CLAMP_QUANTILE)), float(clean_scores.median())


def build_repairing_layer(
    repair: Candidate, statistics: LayerStatistics, clean_range: tuple[float, float] | None
) -> Layer | None:
    """Return the repairing layer of a candidate, estimated from a layer's statistics.

    Args:
        repair: the candidate.
        statistics: of its layer.
        clean_range: for the clamp, the upper end and the median of the clean samples' scores by
            the detector `mean_projection`; None for other repairs.

    Returns:
        The layer; None if the statistics allow no such repair.
    """
    if clean_range is None:
        correction = REPAIRS[repair.estimator](statistics)
        if correction is None:
            return None
        correction = replace(correction, strength=repair.strength)
        return Layer(
            repair.layer,
            statistics.shape,
            correction=correction,
            any_length=statistics.any_length,
        )
    detector = mean_projection(statistics)
    if detector is None:
        return None
    # With w = d/|d|^2 and u = d/|d|: <h, u> = <h, w> |d|, and a score is <h, w> minus its offset.
    length = 1 / float(torch.linalg.vector_norm(detector.weight))
    threshold, anchor = ((score + detector.offset) * length for score in clean_range)
    clamp = Clamp(detector.weight * length**2, repair.strength, threshold, anchor)
    return Layer(repair.layer, statistics.shape, correction=clamp)


def repairing_layers_of_folds(
    repair: Candidate,
    folds: Sequence[LayerStatistics],
    clean_range: tuple[float, float] | None,
) -> list[Layer] | None:
    """Return a candidate's repairing layer for each fold, estimated without that fold's samples.

    Args:
        repair: the candidate.
        folds: for each fold, the statistics of the candidate's layer without that fold.
        clean_range: as in `build_repairing_layer`.

    Returns:
        The layers; None if the statistics of a fold allow no such repair.
    """
    layers = []
    for of_fold in folds:
        layer = build_repairing_layer(repair, of_fold, clean_range)
        if layer is None:
            return None
        layers.append(layer)
    return layers
