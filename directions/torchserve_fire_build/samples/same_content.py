"""Which triggered samples are clean ones, by their content: nothing was done to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from torchserve_fire.format.digest import file_sha256

from .file_samples import FileSamples
from .samples import Samples, iterate
from .tensor_samples import TensorSamples
from .token_samples import TokenSamples


def rows_in_common(clean: Samples, triggered: Samples) -> list[int]:
    """Return the indices of the triggered samples whose content is that of a clean one.

    Of files, the bytes are compared, and only those of files of the same size are read. Of samples
    in memory, the values. Others would have to be decoded: of these, none is found.

    Raises:
        OSError: a file cannot be read.
    """
    if isinstance(clean, FileSamples) and isinstance(triggered, FileSamples):
        return _same_files(clean.paths, triggered.paths)
    in_memory = (TensorSamples, TokenSamples)
    if isinstance(clean, in_memory) and isinstance(triggered, in_memory):
        return _same_values(clean, triggered)
    return []


def _same_files(clean: Sequence[Path], triggered: Sequence[Path]) -> list[int]:
    by_size: dict[int, list[Path]] = {}
    for path in clean:
        by_size.setdefault(path.stat().st_size, []).append(path)
    digests: dict[int, set[str]] = {}
    same = []
    for i, path in enumerate(triggered):
        size = path.stat().st_size
        if size not in by_size:
            continue
        if size not in digests:
            digests[size] = {file_sha256(other) for other in by_size[size]}
        if file_sha256(path) in digests[size]:
            same.append(i)
    return same


def _same_values(clean: Samples, triggered: Samples) -> list[int]:
    by_sum: dict[float, list[int]] = {}
    for i, value in enumerate(_sums(clean)):
        by_sum.setdefault(value, []).append(i)
    return [
        i
        for i, value in enumerate(_sums(triggered))
        if any(torch.equal(triggered[i], clean[k]) for k in by_sum.get(value, ()))
    ]


def _sums(samples: Samples) -> list[float]:
    """Return a number for each sample, which is the same for equal ones."""
    return [
        value
        for _, batch in iterate(samples, range(len(samples)))
        for value in batch.flatten(1).sum(1, dtype=torch.float64).tolist()
    ]
