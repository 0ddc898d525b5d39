"""Evidence of a trigger: clean and triggered samples, paired or not, and the part held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .errors import SamplesError
from .samples import Samples, TensorFileSamples

HELD_OUT_SHARE = 0.4


@dataclass(frozen=True)
class Part:
    """Indices into the clean and the triggered samples.

    Attributes:
        clean: all clean samples of the part, those of the pairs included.
        triggered: the triggered samples of the part.
        partners: for paired evidence, the clean sample of each triggered one; else empty.
    """

    clean: Sequence[int]
    triggered: Sequence[int]
    partners: Sequence[int]


@dataclass(frozen=True)
class Evidence:
    """Clean and triggered samples, and how they belong together.

    Attributes:
        clean: the clean samples.
        triggered: the triggered samples.
        partners: for each triggered sample the index of its clean partner; empty where the
            evidence is unpaired.
    """

    clean: Samples
    triggered: Samples
    partners: Sequence[int]

    @property
    def paired(self) -> bool:
        """Whether every triggered sample has a clean partner."""
        return bool(self.partners)

    def describe(self) -> str:
        """Return what was found, for a person."""
        clean, triggered = len(self.clean), len(self.triggered)
        if self.paired:
            return f"paired: {triggered} triggered samples with their clean partners, {clean} clean"
        return f"unpaired: {triggered} triggered samples, {clean} clean ones of other content"

    def whole(self) -> Part:
        """Return all of it as one part."""
        return Part(range(len(self.clean)), range(len(self.triggered)), self.partners)

    def split(self, generator: torch.Generator, share: float = HELD_OUT_SHARE) -> tuple[Part, Part]:
        """Split at random into a part to estimate on and a part held out to choose on.

        A pair is never torn apart, so that nothing held out was seen in estimating.

        Args:
            generator: source of the random order.
            share: of the triggered, and of the clean samples, that is held out.

        Raises:
            SamplesError: there are too few samples to hold any out.
        """
        for samples, name in ((self.clean, "clean"), (self.triggered, "triggered")):
            if len(samples) < 4:
                raise SamplesError(
                    f"{samples.source}: {len(samples)} {name} samples, expected at least 4"
                )
        order = torch.randperm(len(self.triggered), generator=generator).tolist()
        held = round(len(order) * share)
        triggered = sorted(order[held:]), sorted(order[:held])
        bound = [{self.partners[i] for i in part} if self.paired else set() for part in triggered]
        taken = bound[0] | bound[1]
        free = [i for i in range(len(self.clean)) if i not in taken]
        order = [free[i] for i in torch.randperm(len(free), generator=generator).tolist()]
        held = max(0, min(len(free), round(len(self.clean) * share) - len(bound[1])))
        clean = bound[0] | set(order[held:]), bound[1] | set(order[:held])
        parts = [
            Part(sorted(c), t, [self.partners[i] for i in t] if self.paired else [])
            for c, t in zip(clean, triggered, strict=True)
        ]
        return parts[0], parts[1]


def gather_evidence(clean: Samples, triggered: Samples) -> Evidence:
    """Find the pairs among clean and triggered samples.

    A triggered file with a clean file at the same relative path makes a pair with it. Rows of two
    tensor files are pairs where there are as many of each, their labels agree, and each row is
    nearer to its partner than to the next row's.

    Raises:
        SamplesError: some triggered files have a partner and some have none, or clean and
            triggered samples do not have the same shape.
    """
    if isinstance(clean, TensorFileSamples) or isinstance(triggered, TensorFileSamples):
        shapes = [tuple(samples.load([0]).shape[1:]) for samples in (clean, triggered)]
        if shapes[0] != shapes[1]:
            raise SamplesError(
                f"{triggered.source}: inputs of shape {shapes[1]}, expected {shapes[0]} as in "
                f"{clean.source}"
            )
        paired = _rows_are_pairs(clean, triggered)
        return Evidence(clean, triggered, range(len(triggered)) if paired else [])
    place = {name: i for i, name in enumerate(clean.names)}
    with_partner = [name for name in triggered.names if name in place]
    without = [name for name in triggered.names if name not in place]
    if with_partner and without:
        raise SamplesError(
            f"{triggered.source}: some files have a clean file at the same path in {clean.source} "
            f"({with_partner[0]}) and some have none ({without[0]}): expected pairs for all "
            "or for none"
        )
    return Evidence(clean, triggered, [place[name] for name in with_partner])


def _rows_are_pairs(clean: Samples, triggered: Samples) -> bool:
    count = len(triggered)
    if len(clean) != count or count < 2:
        return False
    labels = clean.labels, triggered.labels
    if labels[0] is not None and labels[1] is not None and not torch.equal(*labels):
        return False
    rows = range(min(count, 256))
    ours, theirs = clean.load(rows).flatten(1), triggered.load(rows).flatten(1)
    to_partner = (theirs - ours).norm(dim=1)
    to_other = (theirs - ours.roll(1, 0)).norm(dim=1)
    return bool((to_partner < to_other).float().mean() > 0.95)
