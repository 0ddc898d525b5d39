"""Weights that are called otherwise than the model calls them, told by their order."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def renamed_weights(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    """Return the weights under the model's names.

    BackdoorBench loads weights by their order, whatever they are called.

    Args:
        weights: by the names that the file has for them.
        wanted: the model's own.

    Returns:
        The weights by the model's names; None where these are what the file has, or where the
        weights one after the other have not the model's shapes.
    """
    if weights.keys() == wanted.keys():
        return None
    shapes = [[tensor.shape for tensor in part.values()] for part in (weights, wanted)]
    if shapes[0] != shapes[1]:
        return None
    return dict(zip(wanted, weights.values(), strict=True))
