"""Samples of a batch: how many there are, picking some out, and putting their results back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from ..errors import RepairError
from .parts import parts_of, same_structure, with_parts


def batch_size(values: Iterable[Any]) -> int | None:
    """Return N of the first tensor (N, ...) among `values`, or None where there is none."""
    for value in values:
        if isinstance(value, Tensor) and value.dim() > 0:
            return value.shape[0]
    return None


def count_samples(inputs: Iterable[Any], output: Any, scores: Tensor | None) -> int:
    """Return how many samples a model was given.

    Packed inputs, as tokens with offsets, or a list of images, do not show it. The scores may,
    where the output agrees with them.

    Args:
        inputs: what the model was called with.
        output: what it returned.
        scores: one for each sample, as far as the detecting layer has one feature for each; None
            where only the inputs are to be believed.

    Raises:
        RepairError: nothing shows it.
    """
    size = batch_size(inputs)
    if scores is not None and len(scores) != size and is_per_sample(output, len(scores)):
        return len(scores)
    if size is None:
        raise RepairError("the model's input holds no tensor (N, ...)")
    return size


def is_per_sample(output: Any, size: int) -> bool:
    """Whether a model's output has one part per sample: a row of a tensor, or a dict of a list."""
    if isinstance(output, list) and all(isinstance(part, dict) for part in output):
        return len(output) == size  # Of an object detector: each sample's boxes, labels and scores.
    return holds_samples(output, size)


def holds_samples(value: Any, size: int) -> bool:
    """Whether some tensor in `value` is (size, ...): has one row per sample."""
    return any(tensor.dim() > 0 and len(tensor) == size for tensor in _tensors(value))


def shared_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any], size: int
) -> frozenset[int | str]:
    """Return the arguments, by position or name, that hold tensors, none of `size` rows."""
    named: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    return frozenset(
        key
        for key, value in named
        if not holds_samples(value, size) and any(tensor.dim() > 0 for tensor in _tensors(value))
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    for part in parts_of(value) or ():
        yield from _tensors(part)


def select_samples(value: Any, index: Tensor, size: int) -> Any:
    """Pick the samples `index` (int64, (M,)) out of every tensor (size, ...) in `value`."""
    if isinstance(value, Tensor):
        return value[index] if value.dim() > 0 and len(value) == size else value
    parts = parts_of(value)
    if parts is None:
        return value
    return with_parts(value, [select_samples(part, index, size) for part in parts])


def replace_samples(whole: Any, part: Any, index: Tensor, size: int) -> Any:
    """Return `whole` with the samples `index` of every tensor (size, ...) taken from `part`.

    Raises:
        RepairError: the two do not have the same structure, or the wrong number of samples.
    """
    if isinstance(whole, Tensor) and isinstance(part, Tensor):
        if not holds_samples(whole, size):
            return whole
        if part.shape != (len(index), *whole.shape[1:]):
            raise RepairError(
                f"the model returned a tensor {tuple(whole.shape)} for the batch and "
                f"{tuple(part.shape)} for its {len(index)} flagged samples: they cannot be merged"
            )
        result = whole.clone()
        result[index] = part.to(whole.dtype)
        return result
    if type(whole) is type(part) and whole is None:
        return None
    if same_structure(whole, part):
        pairs = zip(parts_of(whole) or (), parts_of(part) or (), strict=True)
        return with_parts(whole, [replace_samples(w, p, index, size) for w, p in pairs])
    raise RepairError(
        f"the model returned {type(whole).__name__} for the batch and {type(part).__name__} for "
        "its flagged samples: they cannot be merged"
    )
