"""Running a part of a model: up to a layer, or what lies behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from torchserve_fire.errors import FireError
from torchserve_fire.repair.layers import device_of

from .hooks import edit_features, record_features


class _LayerReachedError(FireError):
    """The layer was reached."""


def features_at(model: nn.Module, layer: str, inputs: Tensor) -> Tensor:
    """Return a layer's features, (n, *S), of inputs (n, *input shape); nothing behind it is run.

    Args:
        model: in evaluation mode.
        layer: a module name.
        inputs: (n, *input shape).

    Raises:
        AttachError: the model has no such layer, or the layer returns no tensor.
    """
    reached: list[Tensor] = []

    def take(_: str, features: Tensor) -> None:
        reached.append(features)
        raise _LayerReachedError

    with torch.no_grad(), record_features(model, [layer], take), suppress(_LayerReachedError):
        model(inputs.to(device_of(model)))
    return reached[0]


@contextmanager
def shapes_until(
    model: nn.Module, layer: str, features: Tensor, example: Tensor
) -> Iterator[Tensor]:
    """Let a model compute nothing but shapes up to a layer, which returns features then.

    Up to the layer, tensors have no values: a model that looks at some fails.

    Args:
        model: in evaluation mode.
        layer: a module name.
        features: (n, *S).
        example: one input, (1, *input shape).

    Yields:
        Inputs without values to run the model on once, (n, *input shape).
    """
    with ExitStack() as before:
        before.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        inputs = example.new_empty(len(features), *example.shape[1:])

        def go_on(_: Tensor) -> Tensor:
            before.close()
            return features

        with edit_features(model, layer, go_on):
            yield inputs


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor has values, and not only a shape."""
    return not isinstance(tensor, FakeTensor)
