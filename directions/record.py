"""Recording the features of layers while a model runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from handler.errors import AttachError
from handler.layers import feature_of, find_layer


@contextmanager
def record_features(
    model: nn.Module, layers: Sequence[str], receive: Callable[[str, Tensor], None]
) -> Iterator[None]:
    """Hand each layer's features to `receive` as they are computed.

    Nothing is kept: `receive` is called inside the forward pass, before a later in-place layer can
    overwrite what it is given. The model's own hooks are not touched.

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
