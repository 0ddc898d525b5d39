"""The held-out samples that candidates are compared on, and their right classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..measure.observation import Observation
from ..samples.both import Both
from ..samples.folds import FOLDS
from ..samples.kept import in_memory
from ..samples.samples import Samples, batch_of

MAX_SAMPLES = 400
"""The most samples of each kind, clean and triggered. They are kept in memory, so their number must
not grow with the evidence."""


@dataclass(frozen=True)
class Group:
    """Clean or triggered samples to compare candidates on.

    Attributes:
        samples: N samples, in memory.
        folds: the fold of each sample, (N,) int64.
        logits: the model's logits before any repair, (N, classes).
        reference: the class that each sample should be predicted as, (N,) int64; None if unknown.
        expected: the class probabilities that each sample should have, (N, classes) float32. With
            pairs, they are the model's probabilities for the clean partner. Without pairs and with
            unknown classes, they are what repairs agree on, and None until repairs were tried; a
            row's sum is below 1 if the repairs are not sure that the class should change. Without
            pairs and with known classes: None.
        by_agreement: whether the samples are clean and `reference` is what the model predicts for
            them, as their true classes are unknown.
    """

    samples: Samples
    folds: Tensor
    logits: Tensor
    reference: Tensor | None
    expected: Tensor | None = None
    by_agreement: bool = False

    @property
    def predictions(self) -> Tensor:
        """The predicted classes before any repair, (N,) int64."""
        return self.logits.argmax(1)

    @property
    def true_classes(self) -> Tensor | None:
        """The class of each sample to measure by, (N,) int64; None of clean samples without any."""
        return None if self.by_agreement else self.reference

    @property
    def partners_right(self) -> Tensor | None:
        """Whether the model is right on each clean partner, (N,) bool; None if that is unknown."""
        if self.expected is None or self.reference is None:
            return None
        return self.expected.argmax(1) == self.reference

    def load(self, rows: Tensor) -> Tensor:
        """Return the inputs at `rows`, (n,) int64, as (n, *input shape)."""
        return self.samples.load(rows.tolist())

    def by_fold(self, which: Tensor, batch_size: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """Yield the samples of `which`, (N,) bool, in batches (fold, indices), fold by fold.

        Args:
            which: the samples.
            batch_size: the samples in a batch; None for `batch_of` what they are.
        """
        batch_size = batch_size or batch_of(self.samples.description)
        for fold in range(FOLDS):
            indices = (which & (self.folds == fold)).nonzero().flatten()
            for start in range(0, len(indices), batch_size):
                yield fold, indices[start : start + batch_size]


@dataclass(frozen=True)
class HeldOut(Both[Group]):
    """Samples to compare candidates on; each is run with estimates that were made without it.

    Attributes:
        guessed: whether the triggers are guesses at the attacker's.
    """

    guessed: bool = False


def hold_out(
    observation: Observation,
    folds: Both[Tensor],
    *,
    generator: torch.Generator,
    use: Tensor | None = None,
) -> HeldOut:
    """Draw the samples to compare candidates on, at most `MAX_SAMPLES` of each kind.

    If the samples have no labels, the model's own prediction on the clean sample, or on the clean
    partner, counts as the right class.

    Args:
        observation: the samples, their labels and the model's logits before any repair.
        folds: the fold of each clean (N,) and triggered sample (M,), int64.
        generator: source of the random numbers.
        use: which triggered samples to draw from, (M,) bool; None for all.
    """
    evidence, logits = observation.evidence, observation.logits
    predicted = observation.predictions.clean
    reference, partners_reference = observation.labels
    reference = predicted if reference is None else reference
    expected = None
    if evidence.paired:
        partners = list(evidence.partners)
        expected = logits.clean[partners].softmax(1)
        if partners_reference is None:
            partners_reference = predicted[partners]

    def draw(
        samples: Samples,
        fold: Tensor,
        logits: Tensor,
        reference: Tensor | None,
        expected: Tensor | None,
        among: Tensor | None,
        *,
        by_agreement: bool = False,
    ) -> Group:
        order = torch.randperm(len(samples), generator=generator)
        if among is not None:
            order = order[among[order]]
        rows = order[:MAX_SAMPLES].sort().values
        return Group(
            in_memory(samples, rows.tolist()),
            fold[rows],
            logits[rows],
            None if reference is None else reference[rows],
            None if expected is None else expected[rows],
            by_agreement,
        )

    return HeldOut(
        draw(
            evidence.clean,
            folds.clean,
            logits.clean,
            reference,
            None,
            None,
            by_agreement=observation.labels.clean is None,
        ),
        draw(
            evidence.triggered,
            folds.triggered,
            logits.triggered,
            partners_reference,
            expected,
            use,
        ),
        evidence.guessed,
    )
