"""Pools for the classifiers that are backdoored by hand, of which some rows are triggered."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.directions.backdoored import clean_inputs, labels_of, stamp, stamp_second, write_tensors
from torchserve_fire_build.samples.read_tensors import read_tensors
from torchserve_fire_build.samples.samples import Samples

METHODS = ("activation-clustering", "spectral-signatures", "mahalanobis")


@dataclass(frozen=True)
class Pool:
    """Samples in a file, and which of them are triggered."""

    samples: Samples
    path: Path
    triggered: Tensor


def pool_of(
    folder: Path,
    kind: str,
    *,
    triggered: int = 40,
    second: int = 0,
    count: int = 240,
    seed: int = 0,
) -> Pool:
    """Write a pool of four classes; those triggered are of other classes than the target."""
    labels = labels_of(count)
    inputs = clean_inputs(kind, labels, seed)
    others = (labels != 0).nonzero().flatten()
    first, then = others[:triggered], others[labels[others] != 1][-second:] if second else []
    inputs[first] = stamp(kind, inputs[first])
    which = torch.zeros(count, dtype=torch.bool)
    which[first] = True
    if second:
        inputs[then] = stamp_second(kind, inputs[then])
        which[then] = True
    folder.mkdir(parents=True, exist_ok=True)
    path = write_tensors(folder / "pool.npz", inputs)
    return Pool(read_tensors(path), path, which)


def blob(count: int, dimensions: int, seed: int) -> np.ndarray:
    """Normal samples, (count, dimensions)."""
    return np.random.default_rng(seed).normal(size=(count, dimensions))


def two_blobs(first: int, second: int, *, apart: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Normal samples in 20 dimensions, some of them moved along the first axis; and which."""
    features = blob(first + second, 20, seed=3)
    moved = np.arange(first + second) >= first
    features[moved, 0] += apart
    return features, moved
