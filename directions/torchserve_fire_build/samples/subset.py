"""A subset of samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import torch
from torch import Tensor

from torchserve_fire.model.request_body import RequestBody

from .samples import Samples


class Subset(Samples):
    """A subset of samples, with their names and labels.

    Args:
        samples: what to take the subset of.
        indices: the samples to take, in this order.
    """

    def __init__(self, samples: Samples, indices: Sequence[int]) -> None:
        self._samples = samples
        self._indices = list(indices)
        classes, labels = samples.class_names, samples.labels
        super().__init__(
            samples.source,
            [samples.names[i] for i in self._indices],
            samples.description,
            class_names=None if classes is None else [classes[i] for i in self._indices],
            labels=None
            if labels is None
            else labels[torch.tensor(self._indices, dtype=torch.int64)],
        )
        self.names_file, self.token_name = samples.names_file, samples.token_name

    def body(self, index: int) -> RequestBody:
        """Return the body of a request with a sample."""
        return self._samples.body(self._indices[index])

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices` of this subset, (n, *input shape)."""
        return self._samples.load([self._indices[i] for i in indices])


def unlabelled(pool: Samples, indices: Sequence[int]) -> Subset:
    """Return the samples of a pool at `indices`, as samples of unknown class.

    The labels of a poisoned training set are the attacker's, so the pool's folders are not taken
    for classes. The names are changed so that no sample pairs with a file of the same name in
    another folder.

    Args:
        pool: the whole pool.
        indices: the samples to take.
    """
    subset = Subset(pool, indices)
    # A folder's own names are relative, so no other folder has these.
    subset.names = [str(PurePosixPath("/pool", name)) for name in subset.names]
    subset.class_names = subset.labels = None
    return subset
