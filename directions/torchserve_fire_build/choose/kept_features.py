"""Features of held-out samples that are kept from one pass, so that trials need no second one."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..samples.both import Both

KEPT_BYTES = 128 << 20
"""Of all layers together; what is more is computed anew in each trial."""

Features = Mapping[str, Both[Tensor]]
"""Layer to the features of the clean (n, *S) and of the triggered samples (m, *S) to be tried."""


class KeptFeatures:
    """Takes in features of the samples that candidates are tried on, as far as there is room.

    Args:
        which: the held-out clean (N,) and triggered samples (M,) to keep features of, bool.
        limit: bytes to keep at most.
    """

    def __init__(self, which: Both[Tensor], limit: int = KEPT_BYTES) -> None:
        self._which = which
        # The place of each sample among those that are kept.
        self._place = which.map(lambda kept: kept.long().cumsum(0) - 1)
        self._left = limit
        self._kept: dict[str, Both[Tensor] | None] = {}

    def add(self, layer: str, rows: Tensor, features: Tensor, *, clean: bool) -> None:
        """Take in what a layer returns.

        Args:
            layer: its name.
            rows: the samples in the batch, (n,) int64.
            features: theirs, (n, *S).
            clean: whether they are clean samples, and not triggered ones.
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
        """The features by layer; a layer for which there was no room is left out."""
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
