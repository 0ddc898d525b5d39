"""What the unrepaired model's predictions say of clean and triggered samples."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .errors import SamplesError
from .evidence import Evidence
from .target import Predictions, TargetFinding, find_target


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
