"""Candidate layers: the layers of a network through which all information passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from torchserve_fire.repair.layers import device_of, feature_of
from torchserve_fire.repair.logits import find_logits

from ..common.errors import CalibrationError
from ..common.hooks import record_features
from ..samples.predict import logits_of, reporting_failures

MAX_CANDIDATES = 13


def find_layers(model: nn.Module, example: Tensor, named: Sequence[str] | None) -> list[str]:
    """Return the layers to look at: the named ones, or else the candidate layers.

    Args:
        model: in evaluation mode.
        example: one input, (1, *input shape).
        named: module names; None for `candidate_layers`.

    Raises:
        CalibrationError: a named layer does not run exactly once with a row for each sample; there
            are no candidate layers; or the model fails.
        AttachError: a named layer does not exist.
    """
    if named is None:
        return candidate_layers(model, example)
    rows: dict[str, list[int]] = {name: [] for name in named}
    two = torch.cat([example, example])
    with record_features(model, list(rows), lambda name, f: rows[name].append(len(f))):
        logits_of(model, two)
    for name, seen in rows.items():
        if seen != [len(two)]:
            raise CalibrationError(
                f"--layers: layer {name!r} does not run once with one row of features per sample"
            )
    return list(rows)


def candidate_layers(model: nn.Module, example: Tensor) -> list[str]:
    """Find the layers at which a correction sees everything that reaches the output.

    A layer beside a shortcut sees only part of a trigger. So a candidate is a module that runs
    once, returns a tensor with one row per input, and is a cut point of autograd's graph: without
    it, the output would not be connected to the input. If modules return the very same value, as a
    container and its last child do, the innermost one counts.

    Args:
        model: in evaluation mode.
        example: one input, (1, *input shape).

    Returns:
        Module names in the order in which they run, at most `MAX_CANDIDATES`: the last layer of
        each shape, after which features are condensed, and an even choice of the other layers.

    Raises:
        CalibrationError: there is no such layer, or the model fails.
    """
    example = example.to(device_of(model))
    with reporting_failures(model, example):
        cuts = _cut_points(model, example, _layers_that_run_once(model, example))
    if not cuts:
        raise CalibrationError(
            f"{type(model).__name__}: no layer carries everything from the input to the output: "
            "name layers with --layers"
        )
    names, shapes = list(cuts), list(cuts.values())
    last = [i for i, shape in enumerate(shapes) if shapes[i + 1 : i + 2] != [shape]]
    chosen = _evenly(last, MAX_CANDIDATES)
    others = [i for i in range(len(names)) if i not in chosen]
    chosen += _evenly(others, MAX_CANDIDATES - len(chosen))
    return [names[i] for i in sorted(chosen)]


def _evenly(values: list[int], most: int) -> list[int]:
    """Return at most `most` of the values, spread evenly from the first to the last."""
    if len(values) <= most:
        return values
    step = (len(values) - 1) / max(most - 1, 1)
    return [values[round(i * step)] for i in range(most)]


def _layers_that_run_once(model: nn.Module, example: Tensor) -> set[str]:
    calls: Counter[str] = Counter()

    def count(name: str) -> Any:
        return lambda *_: calls.update([name])

    handles = [m.register_forward_hook(count(n)) for n, m in model.named_modules() if n]
    try:
        # Without gradients, as when serving: PyTorch's transformer layers then take other paths.
        with torch.no_grad():
            model(example)
    finally:
        _remove(handles)
    return {name for name, times in calls.items() if times == 1}


def _cut_points(model: nn.Module, example: Tensor, names: set[str]) -> dict[str, tuple[int, ...]]:
    """Return the cut points among the layers, in the order in which they run, with their shapes.

    No graph leads through integers. If the input holds integers, the cut points are those between
    the output and the tables of the embeddings.
    """
    node_of: dict[str, Node] = {}
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            feature = feature_of(output)
            # Other numbers of rows: layers that see single tokens, or have the batch second.
            by_sample = feature is not None and len(feature) == len(example)
            node = feature.grad_fn if feature is not None and by_sample else None
            if feature is not None and node is not None and node not in node_of.values():
                node_of[name] = node
                shapes[name] = tuple(feature.shape[1:])

        return hook

    handles = [m.register_forward_hook(watch(n)) for n, m in model.named_modules() if n in names]
    # With detached parameters, the graph leads from the output only to the input.
    frozen = {name: p.detach() for name, p in model.named_parameters()}
    inputs = example.detach().clone()
    sources = [inputs] if inputs.is_floating_point() else _tables(model, frozen)
    try:
        with torch.enable_grad():
            for source in sources:
                source.requires_grad_()
            result = find_logits(torch.func.functional_call(model, frozen, (inputs,)))
    finally:
        _remove(handles)
    root = result.grad_fn
    if root is None:
        return {}
    # A repair of the logits themselves would repair nothing.
    return {
        name: shapes[name]
        for name, node in node_of.items()
        if node is not root and not _reaches_any(root, sources, without=node)
    }


def _tables(model: nn.Module, parameters: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the parameters that embeddings look up."""
    kinds = (nn.Embedding, nn.EmbeddingBag)
    embeddings = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    names = [f"{name}.weight".lstrip(".") for name in embeddings]
    # A table that layers share is listed under one name only.
    return [parameters[name] for name in names if name in parameters]


def _reaches_any(root: Node, sources: Sequence[Tensor], without: Node) -> bool:
    seen, stack = {without, root}, [root]
    while stack:
        node = stack.pop()
        variable = getattr(node, "variable", None)
        if any(variable is source for source in sources):
            return True
        following = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= following
        stack.extend(following)
    return False


def _remove(handles: Iterable[Any]) -> None:
    for handle in handles:
        handle.remove()
