"""Samples that no part of a build sees, on which the finished archive is proved."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..common.errors import SamplesError
from ..samples.evidence import Evidence
from ..samples.folds import MIN_SAMPLES
from ..samples.samples import Samples
from ..samples.subset import Subset

SHARE = 0.25
LEAST, MOST = 8, 200
"""Samples of each kind that are held out, at least and at most."""


@dataclass(frozen=True)
class Halves:
    """Samples to build from, and samples held out.

    Attributes:
        build: clean and triggered samples for the build.
        proof: clean and triggered samples that it does not see.
        held: their indices in the evidence.
    """

    build: tuple[Samples, Samples]
    proof: tuple[Samples, Samples]
    held: tuple[list[int], list[int]]


def hold_out_for_proof(evidence: Evidence, seed: int) -> Halves:
    """Split samples at random; the two samples of a pair stay together.

    Args:
        evidence: all samples.
        seed: of the random numbers.

    Raises:
        SamplesError: there are too few for both.
    """
    generator = torch.Generator().manual_seed(seed)
    triggered = _draw(evidence.triggered, "triggered", generator)
    if evidence.paired:
        clean = sorted({evidence.partners[i] for i in triggered})
    else:
        clean = _draw(evidence.clean, "clean", generator)
    held = (clean, triggered)
    samples = (evidence.clean, evidence.triggered)
    rest = [
        [i for i in range(len(group)) if i not in set(out)]
        for group, out in zip(samples, held, strict=True)
    ]
    return Halves(
        (Subset(samples[0], rest[0]), Subset(samples[1], rest[1])),
        (Subset(samples[0], held[0]), Subset(samples[1], held[1])),
        held,
    )


def _draw(samples: Samples, kind: str, generator: torch.Generator) -> list[int]:
    count = len(samples)
    if count < MIN_SAMPLES + LEAST:
        raise SamplesError(
            f"{samples.source}: {count} {kind} samples, expected at least {MIN_SAMPLES + LEAST}: "
            f"{MIN_SAMPLES} to build from, and {LEAST} on which the archive is proved"
        )
    held = min(MOST, max(LEAST, round(SHARE * count)))
    return sorted(torch.randperm(count, generator=generator)[:held].tolist())
