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
"""What only puts values elsewhere, as autograd calls it."""

LINEAR = ("Convolution", "Addmm", "Mm")
NORMALISED = ("NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm")
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True)
class Writer:
    """A linear or convolutional layer that writes into a layer's output.

    Attributes:
        name: its module name.
        scale: what its output channels are multiplied by on the way, (channels,) float32.
    """

    name: str
    scale: Tensor


@dataclass(frozen=True)
class Writers:
    """All that writes a layer's output.

    Attributes:
        writers: the layers with weights.
        biases: names of parameters, (channels,), that are added to the output as they are.
    """

    writers: tuple[Writer, ...]
    biases: tuple[str, ...]


def find_writers(model: nn.Module, layer: str, example: Tensor, channels: int) -> Writers:
    """Find what a layer's output is a sum of.

    Args:
        model: in evaluation mode; it is not changed.
        layer: the layer's module name.
        example: one input, (1, *input shape).
        channels: of the layer's output.

    Raises:
        SanitizeError: the output is not written by linear layers, convolutions and batch
            normalisations behind these alone.
        AttachError: the model has no such layer.
    """
    if not example.is_floating_point():
        raise SanitizeError(f"{layer}: the model takes integers, expected one of images or tensors")
    # A copy of which all parameters appear in the graph, frozen or not.
    copied = copy.deepcopy(model).requires_grad_(True)
    owners = {
        id(parameter): (name, part)
        for name, module in copied.named_modules()
        for part, parameter in module.named_parameters(recurse=False)
    }
    inputs = example.clone().requires_grad_()
    return _Search(copied, layer, inputs, channels, owners).run()


class _Search:
    """One walk back from a layer's output, to what wrote it."""

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
            # Here and now: a later layer may change the output in place.
            outputs.append(None if feature is None else feature.grad_fn)

        handle = find_layer(self._model, self._layer).register_forward_hook(hook)
        try:
            with torch.enable_grad():
                self._model(self._inputs)
        except Exception as error:  # Whatever a model raises on an input it was not made for.
            reason = first_line(error)
            raise self._refusal(f"cannot be traced with gradients: {reason}") from error
        finally:
            handle.remove()
        if len(outputs) != 1 or outputs[0] is None:
            raise self._refusal("does not run once, with gradients")
        node: Node = outputs[0]
        return node

    def _module(self, node: Node, kinds: tuple[type[nn.Module], ...]) -> tuple[str, Any]:
        """Return the module that a node ran for, by the parameter it took as its weight."""
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
        # A direction across groups is not one of any group's weights.
        if isinstance(module, CONVOLUTIONS) and module.groups != 1:
            return False
        # Without running statistics, what a batch normalisation multiplies by is not known.
        if isinstance(module, BATCH_NORMS) and module.running_var is None:
            return False
        return len(module.get_parameter("weight")) == self._channels

    def _is_constant(self, node: Node) -> bool:
        variable = getattr(node, "variable", None)
        return variable is not None and variable is not self._inputs

    def _refusal(self, found: str) -> SanitizeError:
        return SanitizeError(
            f"layer {self._layer!r} {found}: expected a linear layer, a convolution, one of these "
            "with a batch normalisation behind it, or a sum of such; build a bundle for one with "
            "build --layers NAME --form clamp"
        )


def _parameters(node: Node) -> Iterator[Tensor]:
    """Yield the parameters that a node takes, as they are or transposed."""
    for following, _ in node.next_functions:
        if following is not None and following.name() == "TBackward0":
            following = following.next_functions[0][0]
        variable = getattr(following, "variable", None)
        if variable is not None:
            yield variable


def _factor(norm: Any) -> Tensor:
    """Return what a batch normalisation multiplies each channel by, (channels,)."""
    factor: Tensor = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    return factor


def _readable(kind: str) -> str:
    return "the input itself" if "AccumulateGrad" in kind else f"{kind} (as autograd calls it)"
