"""Which tokens of a model's inputs are texts' own, and which fill up shorter ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import RepairError


def own_tokens(samples: Tensor, padding: Sequence[int]) -> Tensor:
    """Return which tokens are no padding, as far as the longest sample reaches.

    A token is padding if each of the model's arguments holds its padding value there.

    Args:
        samples: (N, K, T) integers, a row for each argument.
        padding: the value with which each argument is filled up, (K,).

    Returns:
        (N, t) bool, where t <= T is the longest sample's length, 1 at least.
    """
    values = torch.tensor(padding, device=samples.device)
    own = (samples != values[:, None]).any(1)
    reached = own.any(0).nonzero()
    return own[:, : int(reached[-1]) + 1 if len(reached) else 1]


def own_tokens_of_call(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], padding: Sequence[int]
) -> Tensor:
    """Return which tokens of what a model is called with are no padding, (N, T) bool.

    Args:
        args: K integer or bool tensors (N, T) among the arguments by position and by name, in the
            order in which calibration saw them; or the one tensor (N, K, T) that they are packed
            into while a bundle is built.
        kwargs: the arguments by name.
        padding: as of `own_tokens`.

    Raises:
        RepairError: the model is called otherwise.
    """
    given = [v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)]
    whole = [v for v in given if not v.is_floating_point()]
    if len(whole) == 1 and whole[0].dim() == 3 and whole[0].shape[1] == len(padding):
        return own_tokens(whole[0], padding)
    shapes = {tuple(v.shape) for v in whole}
    if len(whole) != len(padding) or len(shapes) != 1 or len(min(shapes)) != 2:
        shown = ", ".join(str(tuple(v.shape)) for v in given) or "no tensor"
        raise RepairError(
            f"the model is called with {shown}, the bundle was built for {len(padding)} tensors of "
            "whole numbers (N, T), by which it knows padding"
        )
    own = torch.zeros_like(whole[0], dtype=torch.bool)
    for tensor, value in zip(whole, padding, strict=True):
        own |= tensor != value
    return own
