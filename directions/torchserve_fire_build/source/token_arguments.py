"""How a model is called with texts: its arguments, (N, T) each, and how shorter texts are padded.

Everything that builds a bundle takes one tensor for a sample. So the arguments are packed into one,
(K, T), with a row for each, and a hook of the model unpacks them again. The model is then called as
the handler calls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from torchserve_fire.errors import ModelError
from torchserve_fire.repair.own_tokens import own_tokens

from .recorded_call import RecordedCalls

WHOLE_NUMBERS = (torch.int64, torch.int32, torch.bool)


@dataclass(frozen=True)
class TokenArguments:
    """The arguments that hold a text's tokens, and all others.

    Attributes:
        names: of the arguments with tokens: positions or names.
        dtypes: of them.
        others: arguments that are no tensors, by position or name.
        padding: the value with which each argument is filled up; empty if it is not known yet.
    """

    names: tuple[int | str, ...]
    dtypes: tuple[torch.dtype, ...]
    others: Mapping[int | str, Any]
    padding: tuple[int, ...] = ()

    @classmethod
    def of(cls, calls: RecordedCalls) -> TokenArguments:
        """Return the arguments of a call.

        Raises:
            ModelError: they are none that hold tokens.
        """
        tokens = _token_tensors(calls, 1)
        call = calls.only_call()
        return cls(
            tuple(tokens),
            tuple(tensor.dtype for tensor in tokens.values()),
            {name: value for name, value in call.items() if name not in tokens},
        )

    def pack(self, calls: RecordedCalls, size: int = 1) -> Tensor:
        """Return the samples of a call, (size, K, T) int64.

        Raises:
            ModelError: the call has other arguments.
        """
        tokens = _token_tensors(calls, size)
        if tuple(tokens) != self.names:
            raise ModelError(
                f"the handler calls its model with {_shown(tokens)} for it, and with "
                f"{_shown(self.names)} for others: expected the same arguments for each"
            )
        return torch.stack([tensor.long() for tensor in tokens.values()], 1).cpu()

    def attach(self, model: nn.Module) -> RemovableHandle:
        """Let a model take packed samples, (N, K, T), beside what it takes itself.

        What is padding in all samples of a batch is left out.
        """

        def unpack(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if kwargs or len(args) != 1 or not self._is_packed(args[0]):
                return None
            length = own_tokens(args[0], self.padding).shape[1]
            given = dict(self.others)
            for row, (name, dtype) in enumerate(zip(self.names, self.dtypes, strict=True)):
                given[name] = args[0][:, row, :length].to(dtype)
            positions = sorted(name for name in given if isinstance(name, int))
            named = {name: value for name, value in given.items() if isinstance(name, str)}
            return tuple(given[place] for place in positions), named

        return model.register_forward_pre_hook(unpack, with_kwargs=True)

    def _is_packed(self, value: Any) -> bool:
        return (
            isinstance(value, Tensor)
            and value.dtype == torch.int64
            and value.dim() == 3
            and value.shape[1] == len(self.names)
        )


def padding_in_batch(short: Tensor, long: Tensor, both: Tensor) -> tuple[int, ...]:
    """Return what a handler fills up a short sample with beside a long one.

    Args:
        short: by itself, (K, t).
        long: by itself, (K, T) with T > t.
        both: as the handler prepares the two in one batch, (2, K, T).

    Returns:
        One value for each of the K arguments.

    Raises:
        ModelError: they are prepared otherwise together than each alone, or not filled up on the
            right with one value.
    """
    length = short.shape[1]
    if both.shape[2] != long.shape[1] or not torch.equal(both[1], long):
        raise ModelError(
            f"the handler prepares a text of {long.shape[1]} tokens otherwise beside a shorter "
            "one, expected the same tokens whatever else is in a batch"
        )
    if not torch.equal(both[0, :, :length], short):
        left = torch.equal(both[0, :, -length:], short)
        how = "on the left" if left else "otherwise than by values behind them"
        raise ModelError(
            f"the handler pads shorter texts {how}, expected it on the right: build the tokenizer "
            "with padding on the right"
        )
    filled = both[0, :, length:]
    if not bool((filled == filled[:, :1]).all()):
        raise ModelError(
            "the handler fills up a shorter text with several values, expected one for each "
            "argument of the model"
        )
    return tuple(filled[:, 0].tolist())


def padding_by_mask(samples: Sequence[Tensor]) -> tuple[int, ...]:
    """Return what samples of one length are filled up with, where a mask among them says so.

    Args:
        samples: (K, T) each.

    Returns:
        One value for each of the K arguments.

    Raises:
        ModelError: there is no mask, or nothing is masked; where the mask is 0, an argument has
            several values; or it is 0 before a 1.
    """
    every = torch.stack(list(samples))
    for row in range(every.shape[1]):
        mask = every[:, row]
        if not bool(((mask == 0) | (mask == 1)).all()) or not bool((mask[:, 0] == 1).all()):
            continue
        if bool(mask.all()):
            continue
        if not bool((mask.diff(dim=1) <= 0).all()):
            raise ModelError(
                "the handler's mask leaves out tokens before others, expected padding on the right"
            )
        hidden = [every[:, i][mask == 0] for i in range(every.shape[1])]
        if not all(bool((values == values[0]).all()) for values in hidden):
            raise ModelError(
                "the handler fills up a shorter text with several values, expected one for each "
                "argument of the model"
            )
        return tuple(int(values[0]) for values in hidden)
    raise ModelError(
        "the handler calls its model with as many tokens for each text, and no mask tells which "
        "are padding: give shorter texts, too"
    )


def _token_tensors(calls: RecordedCalls, size: int) -> dict[int | str, Tensor]:
    """Return the arguments with tensors of a call.

    Raises:
        ModelError: one does not hold a row of whole numbers for each text, all of one length; or
            there is none, or an argument that is neither a tensor nor a plain value.
    """
    call = calls.only_call()
    tensors = {name: value for name, value in call.items() if isinstance(value, Tensor)}
    odd = [
        str(name)
        for name, value in call.items()
        if not (value is None or isinstance(value, (Tensor, bool, int, float, str)))
    ]
    shapes = {tuple(tensor.shape) for tensor in tensors.values()}
    whole = all(tensor.dtype in WHOLE_NUMBERS for tensor in tensors.values())
    if odd or not whole or len(shapes) != 1 or len(min(shapes)) != 2 or min(shapes)[0] != size:
        of_each = ", ".join(
            f"{name} {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
            for name, tensor in tensors.items()
        )
        raise ModelError(
            f"the handler calls its model with {', '.join([of_each, *odd]) or 'no tensor'} for "
            f"{size} text{'s' * (size != 1)}, expected one tensor; or several of whole numbers, "
            "such as ids and a mask, with a row for each text, all of one length; else wrap the "
            "model in a torch.nn.Module that takes these and makes the others of them"
        )
    return tensors


def _shown(names: Any) -> str:
    return ", ".join(map(str, names)) or "none"
