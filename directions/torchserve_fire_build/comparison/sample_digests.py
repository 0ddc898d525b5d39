"""Samples by their content."""

from __future__ import annotations

from torchserve_fire.format.tensor_digest import tensor_sha256

from ..samples.samples import Samples, iterate


def sample_digests(samples: Samples) -> list[str]:
    """Return a digest of each sample, as the model takes it."""
    return [
        tensor_sha256(sample)
        for _, batch in iterate(samples, range(len(samples)))
        for sample in batch
    ]
