"""The held-out samples that candidates are compared on, and what they should be classified as."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..measure.observation import Observation
from ..samples.both import Both
from ..samples.folds import FOLDS
from ..samples.kept import in_memory
from ..samples.samples import BATCH, Samples

MAX_SAMPLES = 400
"""Of each kind; these are kept in memory, so that memory does not grow with the evidence."""


@dataclass(frozen=True)
class Group:
    """Clean or triggered samples to compare candidates on.

    Attributes:
        samples: N of them, in memory.
        folds: the fold that each sample is held out from, (N,) int64.
        logits: the model's, before any repair, (N, classes).
        reference: the class that each should be predicted as, (N,) int64; None where nobody knows.
        expected: the probabilities of the classes that each should have, (N, classes) float32: the
            model's for its clean partner; where neither partner nor class is known, what repairs
            agree on, whose sum is less than 1 where they do not agree that it should be another.
            None where the classes are known without pairs; and, where neither is known, until
            repairs were tried.
    """

    samples: Samples
    folds: Tensor
    logits: Tensor
    reference: Tensor | None
    expected: Tensor | None = None

    @property
    def predictions(self) -> Tensor:
        """The predicted classes before any repair, (N,) int64."""
        return self.logits.argmax(1)

    @property
    def partners_right(self) -> Tensor | None:
        """Whether the model is right on each one's clean partner, (N,) bool; None without pairs."""
        if self.expected is None or self.reference is None:
            return None
        return self.expected.argmax(1) == self.reference

    def load(self, rows: Tensor) -> Tensor:
        """Return the inputs at `rows`, (n,) int64, as (n, *input shape)."""
        return self.samples.load(rows.tolist())

    def by_fold(self, which: Tensor, batch_size: int = BATCH) -> Iterator[tuple[int, Tensor]]:
        """Yield the samples of `which`, (N,) bool, as (fold, their indices), batch by batch."""
        for fold in range(FOLDS):
            indices = (which & (self.folds == fold)).nonzero().flatten()
            for start in range(0, len(indices), batch_size):
                yield fold, indices[start : start + batch_size]


@dataclass(frozen=True)
class HeldOut(Both[Group]):
    """Samples to compare candidates on, each held out from the estimates that it is run with.

    Attributes:
        guessed: whether their triggers are guesses at the attacker's.
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

    Where the samples have no labels, the model's own prediction on the clean sample, or on the
    clean partner, is what should come out.

    Args:
        observation: the samples, their labels and the model's logits before any repair.
        folds: the fold of each clean (N,) and triggered sample (M,), int64.
        generator: source of the draw.
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
        )

    return HeldOut(
        draw(evidence.clean, folds.clean, logits.clean, reference, None, None),
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
