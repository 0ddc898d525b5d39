"""Running a part of a model: up to a layer, or what lies behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import torch
from torch import Tensor, nn

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


class BehindLayer:
    """Runs what lies behind a layer of a model, and next to nothing of what lies before it.

    The modules before the layer return, without running, what has the right shape and no value but
    NaN. So logits are NaN where something from before the layer goes into them beside its features.

    Args:
        model: in evaluation mode.
        layer: a module name.
        example: one input, (1, *input shape).

    Raises:
        AttachError: the model has no such layer, or the layer returns no tensor.
    """

    def __init__(self, model: nn.Module, layer: str, example: Tensor) -> None:
        self._model, self._layer, self._example = model, layer, example
        outputs: dict[str, list[object]] = {}

        def note(name: str) -> Callable[[nn.Module, object, object], None]:
            return lambda module, args, output: outputs.setdefault(name, []).append(output)

        with ExitStack() as hooks:
            for name, module in model.named_modules():
                hooks.callback(module.register_forward_hook(note(name)).remove)
            features_at(model, layer, example)
        self._replaced = list(_outermost(model, "", layer, outputs))

    @contextmanager
    def starting_from(self, features: Tensor) -> Iterator[Tensor]:
        """Let the layer return other features the next time that the model runs.

        Args:
            features: (n, *S).

        Yields:
            Inputs to run the model on, once, (n, *input shape).
        """
        count = len(features)
        with ExitStack() as replaced:
            for module, output in self._replaced:
                # In place of the method of its class.
                module.forward = _returning(_unknown(output, count))
                replaced.callback(module.__dict__.pop, "forward")

            def go_on(_: Tensor) -> Tensor:
                # A module may run behind the layer, too.
                replaced.close()
                return features

            with edit_features(self._model, self._layer, go_on):
                yield _unknown(self._example, count)


def _outermost(
    module: nn.Module, name: str, layer: str, outputs: Mapping[str, Sequence[object]]
) -> Iterator[tuple[nn.Module, Tensor]]:
    """Yield the outermost modules that ran once before a layer, each with its output for a row."""
    # One that has not come to its end yet holds the layer.
    ran = outputs.get(name, ())
    output = ran[0] if len(ran) == 1 else None
    if name == layer:
        return
    if isinstance(output, Tensor) and output.shape[:1] == (1,) and "forward" not in module.__dict__:
        yield module, output
        return
    for child, inner in module.named_children():
        yield from _outermost(inner, f"{name}.{child}".lstrip("."), layer, outputs)


def _unknown(row: Tensor, count: int) -> Tensor:
    """Return a tensor with as many rows like one, (count, *S), all NaN; integers are 0."""
    value = math.nan if row.is_floating_point() else 0
    return row.new_full((), value).expand(count, *row.shape[1:])


def _returning(output: Tensor) -> Callable[..., Tensor]:
    return lambda *args, **kwargs: output
