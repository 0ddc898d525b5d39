"""Parts of evidence: what is held out to measure on, and what each draw builds from."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..common.errors import SamplesError
from ..samples.evidence import Evidence
from ..samples.subset import Subset

LEAST = 8
"""Samples of each kind, to build from and to measure on: of fewer, a share says nothing."""

MOST = 200
"""Samples of each kind that a draw takes, if nothing else is said."""

SHARE = 0.75
"""Of the calibration samples that a draw takes at most then, so that draws differ."""


def part_of(evidence: Evidence, clean: Sequence[int], triggered: Sequence[int]) -> Evidence:
    """Return some of the samples; the partners of paired ones must be among the clean ones.

    Args:
        evidence: all samples.
        clean: indices of clean samples.
        triggered: indices of triggered samples.
    """
    place = {index: i for i, index in enumerate(clean)}
    partners = [place[evidence.partners[i]] for i in triggered] if evidence.paired else []
    return Evidence(Subset(evidence.clean, clean), Subset(evidence.triggered, triggered), partners)


def hold_out_half(evidence: Evidence, seed: int) -> tuple[Evidence, Evidence]:
    """Split samples at random in halves; the two samples of a pair stay together.

    Args:
        evidence: all samples.
        seed: of the random numbers.

    Returns:
        What defences may be built from, and what they are measured on.

    Raises:
        SamplesError: there are too few for both.
    """
    for samples, kind in zip(evidence.both, ("clean", "triggered"), strict=True):
        if len(samples) < 2 * LEAST:
            raise SamplesError(
                f"{samples.source}: {len(samples)} {kind} samples, expected at least "
                f"{2 * LEAST}: half of them are held out to measure on; or others to measure "
                "on, by --test-clean and --test-triggered"
            )
    generator = torch.Generator().manual_seed(seed)
    triggered = _shuffled(len(evidence.triggered), generator)
    halves = triggered[: len(triggered) // 2], triggered[len(triggered) // 2 :]
    # Clean samples that are nobody's partner are dealt to both halves, too.
    paired = set(evidence.partners)
    others = [i for i in _shuffled(len(evidence.clean), generator) if i not in paired]
    other_halves = others[: len(others) // 2], others[len(others) // 2 :]
    first, second = (
        part_of(
            evidence,
            sorted([*rest, *(evidence.partners[i] for i in half if evidence.paired)]),
            sorted(half),
        )
        for half, rest in zip(halves, other_halves, strict=True)
    )
    return first, second


def draw_size(evidence: Evidence, wanted: int | None) -> int:
    """Return how many triggered samples a draw takes.

    Args:
        evidence: what defences may be built from.
        wanted: what the user asks for; None for `SHARE` of them, and `MOST` at most.

    Raises:
        SamplesError: there are not as many, or too few for any build.
    """
    there = len(evidence.triggered)
    count = min(MOST, max(LEAST, int(SHARE * there))) if wanted is None else wanted
    if not LEAST <= count <= there:
        raise SamplesError(
            f"{evidence.triggered.source}: {there} triggered samples to build from, expected at "
            f"least {max(count, LEAST)}, as each draw takes, and no draw fewer than "
            f"{LEAST}: bring more, or ask for fewer (--calibration)"
        )
    return count


def draw(evidence: Evidence, count: int, seed: int) -> Evidence:
    """Draw the samples that the defences are built from.

    Args:
        evidence: what they may be built from.
        count: triggered samples; with them come their clean partners, or without pairs `SHARE` of
            the clean samples, and `MOST` at most.
        seed: of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    triggered = _shuffled(len(evidence.triggered), generator)[:count]
    if evidence.paired:
        clean = [evidence.partners[i] for i in triggered]
    else:
        there = len(evidence.clean)
        few = min(there, MOST, max(LEAST, int(SHARE * there)))
        clean = _shuffled(there, generator)[:few]
    return part_of(evidence, sorted(clean), sorted(triggered))


def _shuffled(count: int, generator: torch.Generator) -> list[int]:
    order: list[int] = torch.randperm(count, generator=generator).tolist()
    return order
