"""Samples to calibrate or evaluate with: a torch dataset that reads a sample when asked for it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.request_body import RequestBody

from ..common.errors import SamplesError

TokenName = Callable[[int], str | None]
"""What a token of texts is called; None for one that has no name."""

BATCH = 64

BATCH_BYTES = 4 << 20
"""Of inputs that are run at once. Of 64 photographs at once, a network takes up to three times as
long for each as of 4, and many times the memory."""


class Samples(Dataset[Tensor]):
    """Samples of one kind, clean or triggered; the base of all classes of samples.

    A subclass implements `load`. Everything else, including a DataLoader, reads through `load`.

    Attributes:
        source: where the samples come from, for messages.
        names: a name for each sample: its path below the folder, or its row.
        description: the input of a model that takes these samples.
        class_names: the class folder of each sample, (N,); None without such folders.
        numbered: whether the names are only row numbers, which do not show pairs.
        labels: class indices, (N,) int64; None if the samples come without labels.
        names_file: the `index_to_name.json` that lies beside their configuration, if known.
        token_name: what the tokens of texts are called, if that is known.
        paths: the file of each sample, (N,); None if they do not lie in files of their own.
    """

    numbered = False
    names_file: Path | None = None
    token_name: TokenName | None = None
    paths: Sequence[Path] | None = None

    def __init__(
        self,
        source: Path | str,
        names: Sequence[str],
        description: InputDescription,
        *,
        class_names: Sequence[str] | None = None,
        labels: Tensor | None = None,
    ) -> None:
        self.source = source
        self.names = names
        self.description = description
        self.class_names = class_names
        self.labels = labels

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        """Return one sample, (*input shape); a negative index counts from the end.

        Raises:
            IndexError: there is none at this index.
        """
        return self.load([range(len(self))[index]])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Tensor]:
        """Return several samples; a DataLoader calls this for each batch."""
        return list(self.load(indices))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.description.shape))
        return f"<{type(self).__name__}: {len(self)} of {shape} from {self.source}>"

    def body(self, index: int) -> RequestBody:
        """Return the body of a request with a sample: the file that it is read from, else JSON."""
        content = json.dumps(self.load([index])[0].tolist()).encode()
        return RequestBody(content, ".json")

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the samples at `indices`, (len(indices), *input shape).

        The dtype is float32, or int64 if the model takes integers.
        """
        raise NotImplementedError


def require_samples(*groups: Samples) -> None:
    """Refuse what are no samples, or none.

    Raises:
        SamplesError: says how to make samples.
    """
    for samples in groups:
        if not isinstance(samples, Samples):
            raise SamplesError(
                f"{type(samples).__name__}: expected samples: open_samples(path, config) reads "
                "them, TensorSamples(tensor) holds them"
            )
        if len(samples) == 0:
            raise SamplesError(f"{samples.source}: expected samples, found none")


def bytes_of(description: InputDescription) -> int:
    """Return the bytes that one input takes."""
    return math.prod(description.shape) * description.dtype.itemsize


def batch_of(description: InputDescription) -> int:
    """Return how many inputs are run at once: `BATCH`, or as many as `BATCH_BYTES` holds."""
    return batch_of_size(bytes_of(description))


def batch_of_size(size: int) -> int:
    """Return the same for inputs of so many bytes each."""
    return max(1, min(BATCH, BATCH_BYTES // max(size, 1)))


def iterate(
    samples: Samples, indices: Sequence[int], batch_size: int | None = None
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Yield the samples at `indices` in batches, each as (its indices, (n, *input shape)).

    Args:
        samples: what to read from.
        indices: the samples to read, in this order.
        batch_size: the samples in a batch; None for `batch_of` what they are.
    """
    batch_size = batch_size or batch_of(samples.description)
    for start in range(0, len(indices), batch_size):
        part = indices[start : start + batch_size]
        yield part, samples.load(part)
