"""Letting a model run with the features of one layer changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from handler.layers import feature_of, find_layer, with_feature

Edit = Callable[[Tensor], Tensor]
"""Returns what later layers get in the place of features (N, *S)."""


@contextmanager
def edited(model: nn.Module, layer: str, edit: Edit) -> Iterator[None]:
    """Let the model run with the features of a layer changed.

    Args:
        model: the model.
        layer: a module name.
        edit: changes its features.

    Raises:
        AttachError: the model has no such layer.
    """

    def hook(module: nn.Module, args: object, output: object) -> object:
        feature = feature_of(output)
        if feature is None:
            raise TypeError(f"layer {layer!r} returns no tensor of features")
        return with_feature(output, edit(feature))

    handle = find_layer(model, layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
