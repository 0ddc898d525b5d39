"""Features of held-out samples that are kept from one pass, so that trials need no second pass."""

from __future__ import annotations

from collections.abc import Mapping

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
        limit: bytes to keep at most.
    """

    def __init__(self, which: Both[Tensor], limit: int = KEPT_BYTES) -> None:
        self._which = which
        # The index of each sample among the kept samples.
        self._place = which.map(lambda kept: kept.long().cumsum(0) - 1)
        self._left = limit
        self._kept: dict[str, Both[Tensor] | None] = {}

    def add(self, layer: str, rows: Tensor, features: Tensor, *, clean: bool) -> None:
        """Add the features that a layer returns for a batch.

        Args:
            layer: the layer's name.
            rows: the indices of the samples in the batch, (n,) int64.
            features: the features of these samples, (n, *S).
            clean: True for clean samples, False for triggered ones.
        """
        kept = self._room_for(layer, features)
        if kept is None:
            return
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
        return {layer: kept for layer, kept in self._kept.items() if kept is not None}

    def _room_for(self, layer: str, features: Tensor) -> Both[Tensor] | None:
        if layer not in self._kept:
            counts = self._which.map(lambda which: int(which.sum()))
            size = features[0].nbytes * (counts.clean + counts.triggered)
            fits = size <= self._left
            self._left -= size if fits else 0
            self._kept[layer] = (
                counts.map(lambda count: features.new_empty(count, *features.shape[1:]))
                if fits
                else None
            )
        return self._kept[layer]
