"""Samples from several places as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from ..common.errors import SamplesError
from .samples import Samples


class JoinedSamples(Samples):
    """Samples from several places, one after the other, without classes.

    Args:
        parts: one or more; each sample is called by its place and its name there.

    Raises:
        SamplesError: they differ in what the model is to take.
    """

    def __init__(self, parts: Sequence[Samples]) -> None:
        first = parts[0]
        for part in parts:
            if part.description != first.description:
                raise SamplesError(
                    f"{part.source}: samples of shape {part.description.shape}, expected "
                    f"{first.description.shape} as in {first.source}"
                )
        names = [str(Path(part.source) / name) for part in parts for name in part.names]
        super().__init__(first.source, names, first.description)
        self._parts = parts
        self.paths = _paths_of(parts)
        self._starts = list(accumulate(map(len, parts), initial=0))

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices`, (n, *input shape)."""
        places = [bisect_right(self._starts, i) - 1 for i in indices]
        return torch.cat(
            [
                self._parts[place].load([i - self._starts[place]])
                for i, place in zip(indices, places, strict=True)
            ]
        )


def _paths_of(parts: Sequence[Samples]) -> Sequence[Path] | None:
    """Return the file of each sample; None if not all lie in files of their own."""
    if len(parts) == 1:
        return parts[0].paths
    paths: list[Path] = []
    for part in parts:
        if part.paths is None:
            return None
        paths += part.paths
    return paths
