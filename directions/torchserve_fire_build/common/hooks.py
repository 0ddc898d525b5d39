"""Hooks: read what layers take and return while a model runs, or change what a layer returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from torchserve_fire.errors import AttachError
from torchserve_fire.repair.layers import feature_of, find_layer, with_feature

Edit = Callable[[Tensor], Tensor]
"""Takes a layer's features (N, *S) and returns what later layers get instead."""


@contextmanager
def record_features(
    model: nn.Module, layers: Sequence[str], receive: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Pass each layer's features to `receive` as they are computed.

    Nothing is kept. `receive` is called inside the forward pass, before a later in-place layer can
    overwrite the features. The model's own hooks are not touched.

    Args:
        model: the model.
        layers: module names.
        receive: called with the layer's name and its features (N, *S).

    Raises:
        AttachError: the model has no such layer, or a layer returns no tensor.
    """
    handles = []
    try:
        for name in layers:

            def hook(module: nn.Module, args: object, output: object, name: str = name) -> None:
                feature = feature_of(output)
                if feature is None:
                    raise AttachError(f"layer {name!r} returns no tensor of features")
                receive(name, feature.detach())

            handles.append(find_layer(model, name).register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def record_inputs(module: nn.Module, receive: Callable[[Tensor], None]) -> Iterator[None]:
    """Pass a module's input to `receive`, before the module runs.

    Args:
        module: a module whose first argument is a tensor.
        receive: called with this tensor, (N, *S), each time the module runs.
    """

    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        receive(args[0].detach())

    handle = module.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def record_linear_layers(model: nn.Module) -> Iterator[list[tuple[nn.Linear, torch.Size]]]:
    """Collect the linear layers in the order in which they run, each with its output's shape.

    Yields:
        A list that grows as the model runs. A layer that runs twice is in the list twice.
    """
    ran: list[tuple[nn.Linear, torch.Size]] = []

    def hook(module: nn.Linear, args: object, output: Tensor) -> None:
        ran.append((module, output.shape))

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, nn.Linear)]
    try:
        yield ran
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def edit_features(model: nn.Module, layer: str, edit: Edit) -> Iterator[None]:
    """Change the features of a layer while the model runs.

    Args:
        model: the model.
        layer: a module name.
        edit: changes the layer's features.

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
