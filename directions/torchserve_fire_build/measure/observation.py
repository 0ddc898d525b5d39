"""What the unrepaired model's predictions say of clean and triggered samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ..common.errors import SamplesError
from ..common.progress import Progress
from ..samples.evidence import Evidence
from ..samples.labels import require_labels
from ..samples.predict import logits_of, predict_logits
from .figures import Figures, Observed, measure
from .target import Predictions, TargetFinding, find_target


@dataclass(frozen=True)
class Observation:
    """Labelled clean and triggered samples, and what the unrepaired model predicts them as.

    Attributes:
        evidence: the samples.
        labels: of the clean (N,) and of the triggered samples (M,), int64.
        predictions: likewise.
        found: where the triggered samples are led; None where they are predicted as clean ones are.
    """

    evidence: Evidence
    labels: Sequence[Tensor]
    predictions: Sequence[Tensor]
    found: TargetFinding | None

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes that the triggered samples are led to; none where they are led nowhere."""
        if self.found is None:
            return ()
        return self.found.several or (self.found.target,)

    def figures(
        self, after: Sequence[tuple[Tensor, Tensor | None]], targets: Sequence[int]
    ) -> Figures:
        """Return the figures before and after repair.

        Args:
            after: predictions, int64, after repair and what was flagged, bool, of the clean (N,)
                and of the triggered samples (M,); None where nothing judges them.
            targets: the classes that the triggers lead to.
        """
        clean, triggered = (
            Observed(before, *each, label)
            for before, each, label in zip(self.predictions, after, self.labels, strict=True)
        )
        partners = None
        if self.evidence.paired:
            right = self.predictions[0] == self.labels[0]
            partners = right[list(self.evidence.partners)]
        target, *others = targets
        return measure(clean, triggered, target, partners, others)


def observe(model: nn.Module, evidence: Evidence, names_file: Path | None = None) -> Observation:
    """Predict labelled clean and triggered samples with the unrepaired model.

    Args:
        model: in evaluation mode.
        evidence: the samples.
        names_file: TorchServe's `index_to_name.json`, if there is one.

    Raises:
        SamplesError: the samples have no labels, or are swapped.
        CalibrationError: the model fails.
    """
    groups = (evidence.clean, evidence.triggered)
    classes = logits_of(model, evidence.clean.load([0])).shape[1]
    labels = require_labels(groups, classes, names_file)
    with Progress("evaluating", sum(map(len, groups))) as progress:
        predictions = [
            predict_logits(model, group, range(len(group)), progress).argmax(1) for group in groups
        ]
    refuse_swapped(evidence, labels, predictions)
    found = find_where_led(evidence, labels, predictions, classes)
    return Observation(evidence, labels, predictions, found)


def refuse_swapped(
    evidence: Evidence, labels: Sequence[Tensor | None], predicted: Sequence[Tensor]
) -> None:
    """Refuse triggered samples in the clean ones' place.

    Args:
        evidence: the samples.
        labels: of the clean (N,) and of the triggered samples (M,); None where nobody knows them.
        predicted: classes of the clean (N,) and of the triggered samples (M,).

    Raises:
        SamplesError: the model is right more often on the triggered samples.
    """
    accuracy = [
        None if label is None else float((label == classes).double().mean())
        for label, classes in zip(labels, predicted, strict=True)
    ]
    if accuracy[0] is not None and accuracy[1] is not None and accuracy[0] < accuracy[1] - 0.1:
        raise SamplesError(
            f"{evidence.clean.source}: the model is right on {accuracy[0]:.0%} of the clean "
            f"samples and on {accuracy[1]:.0%} of the triggered ones: are --clean and --triggered "
            "swapped?"
        )


def find_where_led(
    evidence: Evidence,
    labels: Sequence[Tensor | None],
    predicted: Sequence[Tensor],
    classes: int,
) -> TargetFinding | None:
    """Find where the triggered samples are led.

    Args:
        evidence: the samples.
        labels: as `refuse_swapped` takes them.
        predicted: likewise.
        classes: number of classes.

    Returns:
        None where the triggered samples are predicted as clean ones are.
    """
    clean, triggered = (Predictions(p, label) for p, label in zip(predicted, labels, strict=True))
    if evidence.paired:
        # What the trigger changes shows within the pairs, without the model's own mistakes.
        partners = clean.predicted[list(evidence.partners)]
        clean = Predictions(partners, partners)
        triggered = Predictions(triggered.predicted, partners)
    return find_target(clean, triggered, classes)
