"""Evidence of a trigger: clean and triggered samples, paired or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..common.errors import SamplesError
from .both import Both
from .samples import Samples, require_samples

ROWS_COMPARED = 64
"""Rows of two tensor files that are compared to see whether the rows are pairs."""


@dataclass(frozen=True)
class Evidence:
    """Clean and triggered samples, and which of them are pairs.

    Attributes:
        clean: the clean samples.
        triggered: the triggered samples.
        partners: for each triggered sample, the index of its clean partner; empty if the evidence
            is unpaired.
        origins: if the triggers are guesses, which guess each triggered sample carries; empty if
            the triggers are the attacker's own. The samples of one guess are held out together, so
            that the chosen repair also works for a trigger that it was not estimated from.
    """

    clean: Samples
    triggered: Samples
    partners: Sequence[int]
    origins: Sequence[int] = ()

    @property
    def both(self) -> Both[Samples]:
        """The clean and the triggered samples."""
        return Both(self.clean, self.triggered)

    @property
    def paired(self) -> bool:
        """Whether every triggered sample has a clean partner."""
        return bool(self.partners)

    @property
    def guessed(self) -> bool:
        """Whether the triggers are guesses at the attacker's."""
        return bool(self.origins)

    def describe(self) -> str:
        """Return a line that says what the evidence is."""
        clean, triggered = len(self.clean), len(self.triggered)
        if self.guessed:
            return (
                f"guessed: {clean} clean samples, with {len(set(self.origins))} triggers that were "
                "reconstructed; the figures are for these, not for the attacker's trigger"
            )
        if self.paired:
            return f"paired: {triggered} triggered samples with their clean partners, {clean} clean"
        return f"unpaired: {triggered} triggered samples, {clean} clean ones with other content"


def gather_evidence(clean: Samples, triggered: Samples, *, unpaired: bool = False) -> Evidence:
    """Find the pairs among clean and triggered samples.

    A triggered file and a clean file at the same relative path are a pair. The rows of two tensor
    files are pairs if they have the same names; without names, if both files have as many rows, the
    labels agree, and nearly every triggered row is nearer to its partner than to any other clean
    row.

    Args:
        clean: the clean samples.
        triggered: the triggered samples.
        unpaired: whether to take the samples as unpaired, whatever they are called.

    Raises:
        SamplesError: some triggered files have a partner and some have none, or clean and
            triggered samples differ in shape.
    """
    require_samples(clean, triggered)
    by_rows = clean.numbered or triggered.numbered
    if by_rows or clean.description.shape != triggered.description.shape:
        shapes = [tuple(samples.load([0]).shape[1:]) for samples in (clean, triggered)]
        if shapes[0] != shapes[1]:
            raise SamplesError(
                f"{triggered.source}: inputs of shape {shapes[1]}, expected {shapes[0]} as in "
                f"{clean.source}"
            )
    if unpaired:
        return Evidence(clean, triggered, [])
    if by_rows:
        paired = _rows_are_pairs(clean, triggered)
        return Evidence(clean, triggered, range(len(triggered)) if paired else [])
    place = {name: i for i, name in enumerate(clean.names)}
    with_partner = [name for name in triggered.names if name in place]
    without = [name for name in triggered.names if name not in place]
    if with_partner and without:
        # Every clean file has a triggered one. Usually there are more clean files than triggered.
        swapped = len(with_partner) == len(place)
        raise SamplesError(
            f"{triggered.source}: some files have a clean file at the same path in {clean.source} "
            f"({with_partner[0]}) and some have none ({without[0]}): expected pairs for all "
            f"or for none{'; are --clean and --triggered swapped?' if swapped else ''}; if the "
            "names meet by chance, give --unpaired"
        )
    return Evidence(clean, triggered, [place[name] for name in with_partner])


def _rows_are_pairs(clean: Samples, triggered: Samples) -> bool:
    count = len(triggered)
    if len(clean) != count or count < 2:
        return False
    ours, theirs = clean.labels, triggered.labels
    if ours is not None and theirs is not None and not torch.equal(ours, theirs):
        return False
    rows = range(min(count, ROWS_COMPARED))
    partners, inputs = (x.load(rows).flatten(1).float() for x in (clean, triggered))
    # The medians are subtracted, since a trigger adds the same to all rows. The distance is a sum
    # of absolute values: the few large differences, where a trigger is stamped, count less in it
    # than in a sum of squares.
    inputs, partners = (x - x.median(0).values for x in (inputs, partners))
    nearest = torch.cdist(inputs, partners, p=1).argmin(1)
    return bool((nearest == torch.arange(len(rows))).float().mean() > 0.75)
