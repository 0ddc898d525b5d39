"""The held-out samples that candidates are compared on, and what they should be classified as."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..samples.evidence import Evidence
from ..samples.folds import FOLDS, Folds

MAX_SAMPLES = 400
"""Of each kind; these are kept in memory, so that memory does not grow with the evidence."""


@dataclass(frozen=True)
class Group:
    """Clean or triggered samples to compare candidates on.

    Attributes:
        inputs: (N, *input shape) float32.
        folds: the fold that each sample is held out from, (N,) int64.
        logits: the model's, before any repair, (N, classes).
        reference: the class that each should be predicted as, (N,) int64; None where nobody knows.
        expected: the probabilities of the classes that each should have, (N, classes) float32: the
            model's for its clean partner; where neither partner nor class is known, what repairs
            agree on, whose sum is less than 1 where they do not agree that it should be another.
            None where the classes are known without pairs; and, where neither is known, until
            repairs were tried.
    """

    inputs: Tensor
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

    def by_fold(self, which: Tensor, batch_size: int = 64) -> Iterator[tuple[int, Tensor]]:
        """Yield the samples of `which`, (N,) bool, as (fold, their indices), batch by batch."""
        for fold in range(FOLDS):
            indices = (which & (self.folds == fold)).nonzero().flatten()
            for start in range(0, len(indices), batch_size):
                yield fold, indices[start : start + batch_size]


@dataclass(frozen=True)
class HeldOut:
    """Samples to compare candidates on, each held out from the estimates that it is run with.

    Attributes:
        clean: the clean ones.
        triggered: the triggered ones.
        guessed: whether their triggers are guesses at the attacker's.
    """

    clean: Group
    triggered: Group
    guessed: bool = False


def hold_out(
    evidence: Evidence,
    folds: Folds,
    *,
    clean_logits: Tensor,
    triggered_logits: Tensor,
    clean_labels: Tensor | None,
    triggered_labels: Tensor | None,
    generator: torch.Generator,
    use: Tensor | None = None,
) -> HeldOut:
    """Draw the samples to compare candidates on, at most `MAX_SAMPLES` of each kind.

    Where the samples have no labels, the model's own prediction on the clean sample, or on the
    clean partner, is what should come out.

    Args:
        evidence: the samples.
        folds: the fold of each.
        clean_logits: before any repair, (N, classes).
        triggered_logits: before any repair, (M, classes).
        clean_labels: (N,) int64, if they are known.
        triggered_labels: (M,) int64, if they are known.
        generator: source of the draw.
        use: which triggered samples to draw from, (M,) bool; None for all.
    """
    references = [clean_labels, triggered_labels]
    if references[0] is None:
        references[0] = clean_logits.argmax(1)
    if references[1] is None and evidence.paired:
        references[1] = clean_logits.argmax(1)[list(evidence.partners)]
    beside = clean_logits[list(evidence.partners)].softmax(1) if evidence.paired else None
    groups = []
    for samples, fold, logits, reference, partners, among in (
        (evidence.clean, folds.clean, clean_logits, references[0], None, None),
        (evidence.triggered, folds.triggered, triggered_logits, references[1], beside, use),
    ):
        order = torch.randperm(len(samples), generator=generator)
        if among is not None:
            order = order[among[order]]
        chosen = order[:MAX_SAMPLES].sort().values
        groups.append(
            Group(
                samples.load(chosen.tolist()),
                fold[chosen],
                logits[chosen],
                None if reference is None else reference[chosen],
                None if partners is None else partners[chosen],
            )
        )
    clean_group, triggered_group = groups
    return HeldOut(clean_group, triggered_group, evidence.guessed)
