"""Samples from bodies of requests, prepared by an archive's own handler as for its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.kept_input import holds_kept_input
from torchserve_fire.model.preprocess import image_to_tensor
from torchserve_fire.model.request_body import RequestBody

from ..common.errors import SamplesError
from ..samples.request_bodies import RequestBodies
from ..samples.sample_files import SampleFiles
from ..samples.samples import Samples

Prepared = TypeVar("Prepared")

Prepare = Callable[[bytes, str], Tensor]
"""From the body of a request, and the name of its file, to a sample."""


class HandlerSamples(Samples):
    """Bodies of requests, prepared by a handler.

    Args:
        bodies: where they lie.
        prepare: by the handler.
        description: what the model takes.
    """

    def __init__(
        self, bodies: RequestBodies, prepare: Prepare, description: InputDescription
    ) -> None:
        super().__init__(
            bodies.source,
            bodies.names,
            description,
            class_names=bodies.class_names,
            labels=bodies.labels,
        )
        self.numbered = bodies.numbered
        self.paths = bodies.paths if isinstance(bodies, SampleFiles) else None
        self._bodies = bodies
        self._prepare = prepare

    def body(self, index: int) -> RequestBody:
        """Return the body of a request with a sample.

        Raises:
            SamplesError: it cannot be read.
        """
        return self._bodies.body(index)

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices`, (n, *input shape).

        Raises:
            SamplesError: a body cannot be read, or is no sample.
        """
        return torch.stack([self._read(i) for i in indices])

    def _read(self, index: int) -> Tensor:
        sample = prepare_body(self._bodies, index, self._prepare_sent)
        expected = self.description.shape
        if tuple(sample.shape) != expected:
            raise SamplesError(
                f"{self._bodies.place(index)}: the handler makes a sample of shape "
                f"{tuple(sample.shape)} of it, expected {expected} as of the others"
            )
        return sample.to(self.description.dtype)

    def _prepare_sent(self, body: bytes, name: str) -> Tensor:
        """Have the handler prepare what was sent; what a quarantine kept is prepared already."""
        if self.description.kind == "image" and holds_kept_input(body):
            return image_to_tensor(body, self.description, kept=True)
        return self._prepare(body, name)


def prepare_body(
    bodies: RequestBodies, index: int, prepare: Callable[[bytes, str], Prepared]
) -> Prepared:
    """Return what a handler makes of a body.

    Raises:
        SamplesError: it cannot be read, or the handler fails on it.
    """
    body = bodies.body(index)
    try:
        return prepare(body.content, f"body{body.suffix}")
    except FireError as error:
        raise SamplesError(f"{bodies.place(index)}: {error}") from None
