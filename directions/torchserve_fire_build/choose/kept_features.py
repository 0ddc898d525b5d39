"""Features of held-out samples that are kept from one pass, so that trials need no second pass."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..samples.both import Both

KEPT_BYTES = 128 << 20
"""Memory for the features of all layers together. Features beyond it are computed in each trial."""

Features = Mapping[str, Both[Tensor]]
"""Layer to its features: of the clean (n, *S) and of the triggered samples (m, *S) to try."""


class KeptFeatures:
    """Keeps features of the samples that candidates are tried on, while there is room.

    Args:
        which: the held-out clean (N,) and triggered samples (M,) whose features to keep, bool.
        shapes: of one sample's features, by layer, in the order in which the layers run, of the
            layers at which all samples' features have one shape. The last
            layers come first: their features are the smallest and take longest to compute again.
        limit: bytes to keep at most.
    """

    def __init__(
        self,
        which: Both[Tensor],
        shapes: Mapping[str, tuple[int, ...]],
        limit: int = KEPT_BYTES,
    ) -> None:
        self._which = which
        # The index of each sample among the kept samples.
        self._place = which.map(lambda kept: kept.long().cumsum(0) - 1)
        count = sum(int(of_group.sum()) for of_group in which)
        self._room_for: set[str] = set()
        for layer, shape in reversed(list(shapes.items())):
            size = count * math.prod(shape) * torch.float32.itemsize
            if size <= limit:
                limit -= size
                self._room_for.add(layer)
        self._kept: dict[str, Both[Tensor]] = {}

    def add(self, layer: str, rows: Tensor, features: Tensor, *, clean: bool) -> None:
        """Add the features that a layer returns for a batch.

        Args:
            layer: the layer's name.
            rows: the indices of the samples in the batch, (n,) int64.
            features: the features of these samples, (n, *S).
            clean: True for clean samples, False for triggered ones.
        """
        if layer not in self._room_for:
            return
        if layer not in self._kept:
            self._kept[layer] = self._which.map(
                lambda which: features.new_empty(int(which.sum()), *features.shape[1:])
            )
        kept = self._kept[layer]
        which, place = (
            (self._which.clean, self._place.clean)
            if clean
            else (self._which.triggered, self._place.triggered)
        )
        wanted = which[rows]
        (kept.clean if clean else kept.triggered)[place[rows[wanted]]] = features[wanted]

    @property
    def features(self) -> Features:
        """The features by layer, without the layers for which there was no room."""
        return self._kept
