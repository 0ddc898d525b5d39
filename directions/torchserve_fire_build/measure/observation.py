"""What the unrepaired model predicts for clean and triggered samples."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_fire.repair.logits import are_probabilities

from ..common.errors import SamplesError
from ..common.progress import Progress
from ..common.step_cache import NO_CACHE, StepCache
from ..samples.both import Both
from ..samples.class_label import Label, label_of
from ..samples.evidence import Evidence
from ..samples.labels import find_labels, require_labels
from ..samples.predict import logits_of, predict_logits
from .figures import Answers, Figures, measure
from .target import Predictions, TargetFinding, find_target

logger = logging.getLogger(__name__)
PREDICTIONS = "predictions"
"""The first step of a build, as a cache has it."""

SWAPPED = 0.1
"""How much higher the accuracy on triggered samples may be than that on clean samples."""


@dataclass(frozen=True)
class Observation:
    """Clean and triggered samples, their classes, and the logits of the unrepaired model.

    Attributes:
        evidence: the samples.
        classes: number of classes of the model.
        labels: of the clean (N,) and of the triggered samples (M,), int64; None if unknown.
        logits: of the clean (N, classes) and of the triggered samples (M, classes), float32.
        unknown: the reason why no labels are known; empty if some are known.
        label: says what a class is called.
    """

    evidence: Evidence
    classes: int
    labels: Both[Tensor | None]
    logits: Both[Tensor]
    unknown: str = ""
    label: Label = str

    @property
    def predictions(self) -> Both[Tensor]:
        """The predicted classes, (N,) and (M,) int64."""
        return self.logits.map(lambda logits: logits.argmax(1))

    @property
    def partners_right(self) -> Tensor | None:
        """Whether the model is right on each clean partner, (M,) bool; None if that is unknown."""
        if not self.evidence.paired or self.labels.clean is None:
            return None
        right = self.predictions.clean == self.labels.clean
        return right[list(self.evidence.partners)]

    def describe_labels(self) -> str:
        """Return in words which labels are unknown; empty if all that count are known."""
        labels = self.labels
        needed = [labels.clean is None, labels.triggered is None and self.evidence.paired]
        if not any(needed):
            return ""
        unknown = f"not used: {self.unknown}"
        if not self.unknown:
            groups = zip(("clean", "triggered"), labels, strict=True)
            unlabelled = " and ".join(name for name, own in groups if own is None)
            unknown = f"of the {unlabelled} samples none are known"
        return f"labels: {unknown}; accuracy is agreement with the model's own predictions"

    def find_where_led(self) -> TargetFinding | None:
        """Find the classes that the triggers lead to.

        Returns:
            The finding; None if the triggered samples are predicted as clean ones are.
        """
        clean, triggered = (
            Predictions(predicted, label)
            for predicted, label in zip(self.predictions, self.labels, strict=True)
        )
        if self.evidence.paired:
            # Within pairs, only the trigger changes predictions; the model's own mistakes cancel.
            partners = clean.predicted[list(self.evidence.partners)]
            clean = Predictions(partners, partners)
            triggered = Predictions(triggered.predicted, partners)
        return find_target(clean, triggered, self.classes)

    def figures_after(
        self, predictions: Both[Tensor], flagged: Both[Tensor] | None, targets: tuple[int, ...]
    ) -> Figures:
        """Return the figures before and after repair.

        Args:
            predictions: after repair, (N,) and (M,) int64.
            flagged: which samples were flagged, (N,) and (M,) bool; None without a detector.
            targets: the classes that the triggers lead to.
        """
        clean, triggered = (
            Answers(before, after, which, label)
            for before, after, which, label in zip(
                self.predictions, predictions, flagged or (None, None), self.labels, strict=True
            )
        )
        target, *others = targets
        return measure(clean, triggered, target, self.partners_right, others)


def observe(
    model: nn.Module,
    evidence: Evidence,
    names_file: Path | None = None,
    *,
    labelled: bool = False,
    cache: StepCache = NO_CACHE,
    logits: Both[Tensor] | None = None,
) -> Observation:
    """Predict clean and triggered samples once, with the unrepaired model.

    Args:
        model: in evaluation mode.
        evidence: the samples.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        labelled: whether the samples must have labels.
        cache: keeps the logits.
        logits: where they are known already, (N, classes) and (M, classes) float32.

    Raises:
        SamplesError: required labels are missing, or a label is not a class of the model.
        CalibrationError: the model fails.
    """
    groups = tuple(evidence.both)
    classes = logits_of(model, evidence.clean.description.example()).shape[1]
    labels: list[Tensor | None]
    if labelled:
        labels, unknown = [*require_labels(groups, classes, names_file, model)], ""
    else:
        labels, unknown = find_labels(groups, classes, names_file, model)

    def predict() -> dict[str, Tensor]:
        with Progress("predicting", sum(map(len, groups))) as progress:
            clean, triggered = (predict_logits(model, s, range(len(s)), progress) for s in groups)
        return {"clean": clean, "triggered": triggered}

    if logits is None:
        logits = Both(**cache.result(PREDICTIONS, predict))
    if all(map(are_probabilities, logits)):
        logger.info("the model's outputs are probabilities, and are served as such")
    label = label_of(groups, classes, names_file)
    return Observation(evidence, classes, Both(*labels), logits, unknown, label)


def refuse_swapped(observation: Observation) -> None:
    """Refuse clean samples on which the model is less often right than on triggered ones.

    Raises:
        SamplesError: the samples seem to be swapped.
    """
    accuracy = [
        None if labels is None else float((labels == predicted).to(torch.float64).mean())
        for labels, predicted in zip(observation.labels, observation.predictions, strict=True)
    ]
    if accuracy[0] is None or accuracy[1] is None or accuracy[0] >= accuracy[1] - SWAPPED:
        return
    raise SamplesError(
        f"{observation.evidence.clean.source}: the model is right on {accuracy[0]:.0%} of the "
        f"clean samples and on {accuracy[1]:.0%} of the triggered ones: are --clean and "
        "--triggered swapped?"
    )
