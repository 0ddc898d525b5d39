"""What bodies of requests that samples are made of have in common, wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from torchserve_fire.model.request_body import RequestBody


class RequestBodies(Protocol):
    """Bodies of requests, and what class each is of: files, or texts of a list."""

    @property
    def source(self) -> Path:
        """The folder, or the file, that they come from."""

    @property
    def names(self) -> Sequence[str]:
        """What each is called; those of the same name are pairs."""

    @property
    def class_names(self) -> Sequence[str] | None:
        """The class of each by its name; None if that is unknown."""

    @property
    def labels(self) -> Tensor | None:
        """The class of each by its index, (N,) int64; None if that is unknown."""

    @property
    def numbered(self) -> bool:
        """Whether the names are only row numbers."""

    def body(self, index: int) -> RequestBody:
        """Return a body.

        Raises:
            SamplesError: it cannot be read.
        """

    def place(self, index: int) -> str:
        """Return where it lies, for messages."""
