"""Samples that are texts as a token model takes them, padded to the longest one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.request_body import RequestBody

from .samples import Samples


class TokenSamples(Samples):
    """Texts of different lengths, each a row for each argument of the model.

    Args:
        source: where they come from.
        names: of each.
        tokens: of each, (K, t) int64.
        padding: what shorter ones are filled up with, (K,).
        body: returns the body of the request with a sample.
        class_names: the class of each by its name; None if that is unknown.
        labels: the class of each by its index, (N,) int64; None if that is unknown.
        numbered: whether the names are only row numbers.
    """

    def __init__(
        self,
        source: Path | str,
        names: Sequence[str],
        tokens: Sequence[Tensor],
        padding: tuple[int, ...],
        body: Callable[[int], RequestBody],
        *,
        class_names: Sequence[str] | None = None,
        labels: Tensor | None = None,
        numbered: bool = False,
    ) -> None:
        longest = max(each.shape[1] for each in tokens)
        description = InputDescription("integers", (len(padding), longest), padding=padding)
        super().__init__(source, names, description, class_names=class_names, labels=labels)
        self.numbered = numbered
        self._tokens = tokens
        self._body = body

    @property
    def length(self) -> int:
        """What samples are padded to, in tokens."""
        return self.description.shape[1]

    def lengthen(self, length: int) -> None:
        """Pad samples to a length from now on, so that they fit beside longer ones."""
        shape = (self.description.shape[0], max(length, self.length))
        self.description = replace(self.description, shape=shape)

    def body(self, index: int) -> RequestBody:
        """Return the body of a request with a sample."""
        return self._body(index)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices`, (n, K, length) int64."""
        padding = torch.tensor(self.description.padding)[:, None]
        samples = padding.repeat(len(indices), 1, self.length)
        samples = samples.view(len(indices), *self.description.shape)
        for row, index in enumerate(indices):
            tokens = self._tokens[index]
            samples[row, :, : tokens.shape[1]] = tokens
        return samples
