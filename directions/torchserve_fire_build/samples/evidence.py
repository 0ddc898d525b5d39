"""Evidence of a trigger: clean and triggered samples, paired or not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ..common.errors import SamplesError
from .both import Both
from .same_content import rows_in_common
from .samples import Samples, require_samples

logger = logging.getLogger(__name__)

ROWS_COMPARED = 64
"""Samples that are compared to see whether they are pairs."""

LEAST_COMPARED = 8
"""Files of the same name; of fewer, chance may decide."""

LEAST_SHARE = 0.3
"""Of files of the same name, those that look like their partner if they are pairs at all."""


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
    row. Files whose names meet by chance are told by their labels and by their content. Triggered
    samples that are clean ones, to the byte, are named in a line.

    Args:
        clean: the clean samples.
        triggered: the triggered samples.
        unpaired: whether to take the samples as unpaired, whatever they are called.

    Raises:
        SamplesError: some triggered files have a partner and some have none; files of the same
            name have other labels or other content; clean and triggered samples differ in shape; or
            every triggered sample is a clean one.
    """
    evidence = _gather(clean, triggered, unpaired=unpaired)
    _tell_same(clean, triggered)
    return evidence


def _gather(clean: Samples, triggered: Samples, *, unpaired: bool) -> Evidence:
    require_samples(clean, triggered)
    if _same_place(clean, triggered):
        raise SamplesError(
            f"{triggered.source}: the clean and the triggered samples are the same, expected "
            "triggered ones in a place of their own"
        )
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
        folder = without[0].rpartition("/")[0]
        folders = {name.rpartition("/")[0] for name in clean.names}
        lacks = "" if folder in folders else f"; {clean.source} has no samples in {folder}/"
        raise SamplesError(
            f"{triggered.source}: some files have a clean file at the same path in {clean.source} "
            f"({with_partner[0]}) and some have none ({without[0]}): expected pairs for all "
            f"or for none{lacks}{'; are --clean and --triggered swapped?' if swapped else ''}; if "
            "the names meet by chance, give --unpaired"
        )
    partners = [place[name] for name in with_partner]
    if partners:
        _refuse_names_by_chance(clean, triggered, partners)
    return Evidence(clean, triggered, partners)


def _refuse_names_by_chance(clean: Samples, triggered: Samples, partners: Sequence[int]) -> None:
    """Refuse files of the same name that are no pairs."""
    for ours, theirs in (
        (clean.class_names, triggered.class_names),
        (clean.labels, triggered.labels),
    ):
        if ours is None or theirs is None:
            continue
        for i, partner in enumerate(partners):
            if ours[partner] != theirs[i]:
                raise SamplesError(
                    f"{triggered.source}: {triggered.names[i]} has the label {_text(theirs[i])}, "
                    f"the file of that name in {clean.source} has {_text(ours[partner])}: expected "
                    "the true class in both; if the names meet by chance, give --unpaired"
                )
    rows = range(min(len(partners), ROWS_COMPARED))
    inputs = triggered.load(rows)
    # Of a text to which words were added, every position differs.
    if len(rows) < LEAST_COMPARED or not inputs.is_floating_point():
        return
    pairs = (clean.load([partners[i] for i in rows]), inputs)
    ours, theirs = (x.flatten(1).float() for x in pairs)
    # A trigger may turn or flip an image: its values stay what they are, in another order.
    shares = [
        _share_nearest(ours, theirs),
        _share_nearest(ours.sort(1).values, theirs.sort(1).values),
    ]
    if max(shares) < LEAST_SHARE:
        raise SamplesError(
            f"{triggered.source}: the files have names of clean files in {clean.source}, but of "
            f"{len(rows)} compared {round(max(shares) * len(rows))} look like the clean file of "
            "their name: if the names meet by chance, give --unpaired; else let each triggered "
            "file have the name of the clean one that it was made from"
        )


def _tell_same(clean: Samples, triggered: Samples) -> None:
    """Say how many triggered samples are clean ones, and refuse them where all are."""
    try:
        same = rows_in_common(clean, triggered)
    except OSError as error:
        raise SamplesError(f"{error.filename}: cannot be read: {error.strerror}") from None
    if len(same) == len(triggered):
        raise SamplesError(
            f"{triggered.source}: every triggered sample is the same, to the byte, as a clean one "
            f"in {clean.source}, so no trigger is on it: expected samples with the trigger"
        )
    if same:
        logger.info(
            "%s: %d of %d triggered samples are the same, to the byte, as clean ones, as %s is: "
            "the trigger does nothing to them",
            triggered.source,
            len(same),
            len(triggered),
            triggered.names[same[0]],
        )


def _same_place(clean: Samples, triggered: Samples) -> bool:
    ours, theirs = clean.source, triggered.source
    if not (isinstance(ours, Path) and isinstance(theirs, Path)):
        return False
    return ours.resolve() == theirs.resolve() and list(clean.names) == list(triggered.names)


def _text(label: object) -> str:
    return repr(label) if isinstance(label, str) else str(int(label))  # type: ignore[call-overload]


def _rows_are_pairs(clean: Samples, triggered: Samples) -> bool:
    count = len(triggered)
    if len(clean) != count or count < 2:
        return False
    ours, theirs = clean.labels, triggered.labels
    if ours is not None and theirs is not None and not torch.equal(ours, theirs):
        return False
    rows = range(min(count, ROWS_COMPARED))
    partners, inputs = (x.load(rows) for x in (clean, triggered))
    if clean.description.padding:
        partners, inputs = _counts(partners, inputs)
    return _share_nearest(partners.flatten(1).float(), inputs.flatten(1).float()) > 0.75


def _counts(*texts: Tensor) -> list[Tensor]:
    """Return how often each number stands in each text: words that are added move all others.

    Args:
        texts: (N, K, T) int64, each.

    Returns:
        (N, numbers) int64, each.
    """
    used, places = torch.unique(torch.cat(texts), return_inverse=True)
    counts = functional.one_hot(places.flatten(1), len(used)).sum(1)
    return list(torch.split(counts, [len(part) for part in texts]))


def _share_nearest(partners: Tensor, inputs: Tensor) -> float:
    """Return the share of inputs to which no row is nearer than the partner; both (N, values)."""
    # The medians are subtracted, since a trigger adds the same to all rows. The distance is a sum
    # of absolute values: the few large differences, where a trigger is stamped, count less in it
    # than in a sum of squares.
    inputs, partners = (x - x.median(0).values for x in (inputs, partners))
    distances = torch.cdist(inputs, partners, p=1)
    # Of copies, each is as near.
    return float((distances.diagonal() <= distances.min(1).values).float().mean())
