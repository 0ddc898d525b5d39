"""The weights that write a layer's output: found in the graph that autograd records."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from torchserve_fire.errors import first_line
from torchserve_fire.repair.layers import feature_of, find_layer

from ..common.errors import SanitizeError

SUMS = ("Add",)
RESHAPES = ("View", "UnsafeView", "Transpose", "Permute", "Clone", "Cat", "Expand")
"""Operations that only move values, by their names in autograd."""

LINEAR = ("Convolution", "Addmm", "Mm")
NORMALISED = ("NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm")
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Writer:
    """A linear or convolutional layer that writes into a layer's output.

    Attributes:
        name: its module name.
        scale: factors of its output channels on the way to the layer's output, (channels,) float32.
    """

    name: str
    scale: Tensor


@dataclass(frozen=True)
class Writers:
    """Everything that writes a layer's output.

    Attributes:
        writers: the layers with weights.
        biases: names of parameters, (channels,), that are added to the output unchanged.
    """

    writers: tuple[Writer, ...]
    biases: tuple[str, ...]


def find_writers(model: nn.Module, layer: str, example: Tensor, channels: int) -> Writers:
    """Find the summands of a layer's output.

    Args:
        model: in evaluation mode; it is not changed.
        layer: the layer's module name.
        example: one input, (1, *input shape).
        channels: number of channels of the layer's output.

    Raises:
        SanitizeError: the output is written by something other than linear layers, convolutions,
            and batch normalisations after these.
        AttachError: the model has no such layer.
    """
    if not example.is_floating_point():
        raise SanitizeError(f"{layer}: the model takes integers, expected one of images or tensors")
    # In this copy, all parameters appear in the graph, also those that were frozen.
    copied = copy.deepcopy(model).requires_grad_(True)
    owners = {
        id(parameter): (name, part)
        for name, module in copied.named_modules()
        for part, parameter in module.named_parameters(recurse=False)
    }
    inputs = example.clone().requires_grad_()
    return _Search(copied, layer, inputs, channels, owners).run()


class _Search:
    """One walk back through the graph, from a layer's output to what wrote it."""

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        inputs: Tensor,
        channels: int,
        owners: dict[int, tuple[str, str]],
    ) -> None:
        self._model, self._layer, self._inputs = model, layer, inputs
        self._channels, self._owners = channels, owners
        self._writers: list[Writer] = []
        self._biases: list[str] = []

    def run(self) -> Writers:
        ones = torch.ones(self._channels)
        stack: list[tuple[Node, Tensor, bool]] = [(self._output_node(), ones, False)]
        while stack:
            node, scale, normalised = stack.pop()
            kind = node.name().rstrip("0123456789").removesuffix("Backward")
            if kind in SUMS + RESHAPES:
                stack += [(n, scale, normalised) for n, _ in node.next_functions if n is not None]
            elif kind in NORMALISED:
                name, norm = self._module(node, BATCH_NORMS)
                if not normalised:
                    self._biases.append(f"{name}.bias")
                before = node.next_functions[0][0]
                if before is not None:
                    stack.append((before, scale * _factor(norm), True))
            elif kind in LINEAR:
                name, module = self._module(node, (nn.Linear, *CONVOLUTIONS))
                self._writers.append(Writer(name, scale))
                if module.bias is not None and not normalised:
                    self._biases.append(f"{name}.bias")
            elif not self._is_constant(node):
                raise self._refusal(f"is written by {_readable(kind)}")
        if not self._writers:
            raise self._refusal("is the same for every input")
        return Writers(tuple(self._writers), tuple(self._biases))

    def _output_node(self) -> Node:
        outputs: list[Any] = []

        def hook(module: nn.Module, args: Any, output: Any) -> None:
            feature = feature_of(output)
            # Taken here, since a later layer may change the output in place.
            outputs.append(None if feature is None else feature.grad_fn)

        handle = find_layer(self._model, self._layer).register_forward_hook(hook)
        try:
            with torch.enable_grad():
                self._model(self._inputs)
        except Exception as error:  # A model may raise anything on an unexpected input.
            reason = first_line(error)
            raise self._refusal(f"cannot be traced with gradients: {reason}") from error
        finally:
            handle.remove()
        if len(outputs) != 1 or outputs[0] is None:
            raise self._refusal("does not run once, with gradients")
        node: Node = outputs[0]
        return node

    def _module(self, node: Node, kinds: tuple[type[nn.Module], ...]) -> tuple[str, Any]:
        """Return the module that a node belongs to, found by the node's weight."""
        for parameter in _parameters(node):
            name, part = self._owners.get(id(parameter), ("", ""))
            module = self._model.get_submodule(name)
            if part == "weight" and isinstance(module, kinds):
                if self._fits(module):
                    return name, module
                raise self._refusal(f"is written by {name!r}, {module}")
        names = " or ".join(kind.__name__ for kind in kinds)
        raise self._refusal(f"is written by weights that are not those of {names}")

    def _fits(self, module: nn.Module) -> bool:
        # No group's weights can write a direction across groups.
        if isinstance(module, CONVOLUTIONS) and module.groups != 1:
            return False
        # Without running statistics, the factors of a batch normalisation are not known.
        if isinstance(module, BATCH_NORMS) and module.running_var is None:
            return False
        return len(module.get_parameter("weight")) == self._channels

    def _is_constant(self, node: Node) -> bool:
        variable = getattr(node, "variable", None)
        return variable is not None and variable is not self._inputs

    def _refusal(self, found: str) -> SanitizeError:
        return SanitizeError(
            f"layer {self._layer!r} {found}: expected a linear layer, a convolution, one of these "
            "followed by a batch normalisation, or a sum of such; build a bundle for such a layer "
            "with build --layers NAME --form clamp"
        )


def _parameters(node: Node) -> Iterator[Tensor]:
    """Yield the parameters that a node takes, transposed or not."""
    for following, _ in node.next_functions:
        if following is not None and following.name() == "TBackward0":
            following = following.next_functions[0][0]
        variable = getattr(following, "variable", None)
        if variable is not None:
            yield variable


def _factor(norm: Any) -> Tensor:
    """Return the factors of a batch normalisation, (channels,)."""
    factor: Tensor = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    return factor


def _readable(kind: str) -> str:
    return "the input itself" if "AccumulateGrad" in kind else f"{kind} (as autograd calls it)"
