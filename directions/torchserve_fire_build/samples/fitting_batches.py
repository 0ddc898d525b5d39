"""Batches that fit into memory: as large as they may be, and halved where memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from torchserve_fire.errors import first_line
from torchserve_fire.repair.layers import device_of

from ..common.errors import CalibrationError
from .samples import batch_of_size

GPU_BATCH = 512
"""Samples in a batch on a GPU: fewer would leave most of it idle. On the CPU more than `BATCH`
would win nothing."""

SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""What a RuntimeError says where memory ran out: that of a GPU, that of the CPU, and in CUDA's
libraries."""

Item = TypeVar("Item")
Result = TypeVar("Result")

_fits: WeakKeyDictionary[nn.Module, dict[int, int]] = WeakKeyDictionary()
"""Of each model, by the size that was asked for, the size that was found to fit."""


def fitting_batches(
    model: nn.Module,
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Result],
    *,
    most: int | None = None,
    input_bytes: int = 0,
    samples_of: Callable[[Item], int] | None = None,
) -> Iterator[tuple[Sequence[Item], Result]]:
    """Run a model on items, batch by batch, and yield each batch with its result.

    A batch for which memory does not suffice is run again in halves. The size that fits is
    remembered for as long as the model lives.

    Args:
        model: its device says how large batches may be.
        items: what is run, such as indices of samples.
        run: runs the model on a batch. It may be stopped anywhere, and called again.
        most: samples in a batch; None for `GPU_BATCH`, and on the CPU `BATCH`, or fewer if they are
            large.
        input_bytes: of one sample; 0 if that is not known.
        samples_of: returns how many samples an item stands for; None where it is one each. An item
            of more samples than a batch may have is a batch by itself.

    Raises:
        CalibrationError: not even one item fits.
    """
    if most is None:
        most = batch_of_size(input_bytes) if device_of(model).type == "cpu" else GPU_BATCH
    fits = _fits.setdefault(model, {})
    start = 0
    while start < len(items):
        batch = _first(items[start:], fits.get(most, most), samples_of)
        fitted = False
        try:
            result = run(batch)
            fitted = True
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise CalibrationError(
                    f"{type(model).__name__}: the memory of {device_of(model)} does not suffice "
                    f"for a batch of one ({first_line(error)}): expected more, or another --device"
                ) from error
        if not fitted:
            # Only now that the exception is gone can what it held be freed.
            size = len(batch) if samples_of is None else sum(map(samples_of, batch))
            fits[most] = max(1, min(size, fits.get(most, most)) // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        yield batch, result
        start += len(batch)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, as an exception or what caused it says."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return True
        if isinstance(cause, RuntimeError) and any(sign in str(cause) for sign in SIGNS):
            return True
        cause = cause.__cause__
    return False


def _first(
    items: Sequence[Item], size: int, samples_of: Callable[[Item], int] | None
) -> Sequence[Item]:
    """Return the first items, one at least, that are no more than `size` samples together."""
    if samples_of is None:
        return items[:size]
    count = total = 0
    for item in items:
        total += samples_of(item)
        if count and total > size:
            break
        count += 1
    return items[:count]
