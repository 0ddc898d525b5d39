"""A device that is not here: what a GPU would do with code, shown by the CPU.

Tensors that are moved to `ELSEWHERE` say that they are there, and the CPU computes their values.
As on a GPU, an operation on tensors of both devices fails, and what makes the CPU wait for the
device is counted. In PyTorch's eyes the device is `meta`, which each build of it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

ELSEWHERE = torch.device("meta")

aten = torch.ops.aten

WAITS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2}
"""Operations that need values of the device before the CPU can go on."""

TAKES_CPU_INDICES = {aten.index, aten.index_put_, aten.index_put}


class Away(Tensor):
    """A tensor that says it is elsewhere."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> Away:
        made: Away = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=ELSEWHERE,
        )
        made.held = held
        return made

    def tolist(self) -> Any:
        # PyTorch has none for subclasses; on a GPU it copies first, too.
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"Away({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: used outside of `elsewhere()`")


class Watched(TorchDispatchMode):
    """Runs operations, and counts those that wait for the device.

    Attributes:
        waits: name of an operation to how often it made the CPU wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operation = func.overloadpacket
        tensors = [x for x in tree_iter((args, kwargs)) if isinstance(x, Tensor)]
        away = any(isinstance(x, Away) for x in tensors)
        if any(x.is_meta and not isinstance(x, Away) for x in tensors):
            # `torch.tensor(values, device=...)` makes one without asking anybody.
            raise RuntimeError(f"{func}: on meta without values: make it on the CPU, and move it")
        here = any(not isinstance(x, Away) and x.dim() > 0 for x in tensors)
        device = kwargs.get("device")
        to = away if device is None else torch.device(device) == ELSEWHERE
        if device is not None and to:
            kwargs = kwargs | {"device": torch.device("cpu")}
            if kwargs.get("generator") is not None:
                raise RuntimeError(f"{func}: the generator is on the CPU, expected elsewhere")
        if away and here and operation is not aten.copy_:
            self._check_mixed(func, args)
        if away:
            self._count(operation, args, to)
        held = tree_map(lambda x: x.held if isinstance(x, Away) else x, (args, kwargs))
        result = func(*held[0], **held[1])
        if func._schema.name.endswith("_") or "out" in kwargs:
            return kwargs.get("out", args[0])  # In place: it stays the tensor that it was.
        return tree_map(lambda x: Away(x) if to and isinstance(x, Tensor) else x, result)

    def _check_mixed(self, func: Any, args: Any) -> None:
        if func.overloadpacket in TAKES_CPU_INDICES and isinstance(args[0], Away):
            values = args[2:3]
            if all(isinstance(x, Away) or x.dim() == 0 for x in values):
                return
        raise RuntimeError(f"{func}: expected all tensors to be on the same device")

    def _count(self, operation: Any, args: Any, to: bool) -> None:
        masks = operation in TAKES_CPU_INDICES and any(
            isinstance(x, Away) and x.dtype == torch.bool for x in args[1]
        )
        left = (operation is aten._to_copy and not to) or (
            operation is aten.copy_ and not isinstance(args[0], Away)
        )
        if operation in WAITS or masks or left:
            self.waits[str(operation).removeprefix("aten.")] += 1


@contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Make the device be there while the block runs."""
    plain, known = torch.autocast, torch.is_autocast_enabled

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return (
            nullcontext() if device_type == ELSEWHERE.type else plain(device_type, *args, **kwargs)
        )

    def is_autocast_enabled(device_type: str) -> bool:
        return device_type != ELSEWHERE.type and known(device_type)

    with monkeypatch.context() as patch, Watched() as watched:
        # PyTorch refuses to be asked about autocasting on it.
        patch.setattr(torch, "autocast", autocast)
        patch.setattr(torch, "is_autocast_enabled", is_autocast_enabled)
        yield watched
