"""Candidate layers: the places of a network through which all information passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from handler.layers import feature_of

from .errors import CalibrationError

MAX_CANDIDATES = 13


def candidate_layers(model: nn.Module, example: Tensor) -> list[str]:
    """Find the layers at which a correction sees everything that reaches the output.

    A layer beside a shortcut sees only part of a trigger, so the candidates are the modules that
    run once, return a tensor with one row per input, and without which, in autograd's graph, the
    output would not be connected to the input. Of modules that return the very same value (a
    container and its last child) the innermost counts.

    Args:
        model: in evaluation mode.
        example: one input, (1, *input shape).

    Returns:
        Module names in the order in which they run, at most `MAX_CANDIDATES`, evenly chosen.

    Raises:
        CalibrationError: there is no such layer.
    """
    cuts = _cut_points(model, example, _layers_that_run_once(model, example))
    if not cuts:
        raise CalibrationError(
            f"{type(model).__name__}: no layer carries everything from the input to the output: "
            "name some with --layers"
        )
    if len(cuts) <= MAX_CANDIDATES:
        return cuts
    step = (len(cuts) - 1) / (MAX_CANDIDATES - 1)
    return [cuts[round(i * step)] for i in range(MAX_CANDIDATES)]


def _layers_that_run_once(model: nn.Module, example: Tensor) -> set[str]:
    calls: Counter[str] = Counter()

    def count(name: str) -> Any:
        return lambda *_: calls.update([name])

    handles = [m.register_forward_hook(count(n)) for n, m in model.named_modules() if n]
    try:
        # Without gradients, as in service: PyTorch's transformer layers then take other paths.
        with torch.no_grad():
            model(example)
    finally:
        _remove(handles)
    return {name for name, times in calls.items() if times == 1}


def _cut_points(model: nn.Module, example: Tensor, names: set[str]) -> list[str]:
    node_of: dict[str, Node] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            feature = feature_of(output)
            # Layers that see each token, or the batch second, have other rows.
            by_sample = feature is not None and len(feature) == len(example)
            node = feature.grad_fn if feature is not None and by_sample else None
            if node is not None and node not in node_of.values():
                node_of[name] = node

        return hook

    handles = [m.register_forward_hook(watch(n)) for n, m in model.named_modules() if n in names]
    # With detached parameters the graph leads from the output to the input alone.
    frozen = {name: p.detach() for name, p in model.named_parameters()}
    try:
        with torch.enable_grad():
            inputs = example.detach().clone().requires_grad_()
            result = feature_of(torch.func.functional_call(model, frozen, (inputs,)))
    finally:
        _remove(handles)
    root = None if result is None else result.grad_fn
    if root is None:
        return []
    # A repair of the logits themselves would repair nothing.
    return [
        name
        for name, node in node_of.items()
        if node is not root and not _reaches_input(root, inputs, without=node)
    ]


def _reaches_input(root: Node, inputs: Tensor, without: Node) -> bool:
    seen, stack = {without, root}, [root]
    while stack:
        node = stack.pop()
        if getattr(node, "variable", None) is inputs:
            return True
        following = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= following
        stack.extend(following)
    return False


def _remove(handles: Iterable[Any]) -> None:
    for handle in handles:
        handle.remove()
