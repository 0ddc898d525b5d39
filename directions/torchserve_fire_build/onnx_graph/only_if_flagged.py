"""Letting the second passes of an exported graph run only where a sample of the batch is flagged.

As traced, all passes always run. What nothing but a second pass needs moves into the branch of an
`If`; so a batch of clean inputs costs one pass, as with `attach`.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass


def repeat_only_if_flagged(model: ir.Model, repeats: int) -> None:
    """Change a traced graph in place.

    Args:
        model: as traced from `RepairedGraph`. Its last outputs, which samples take each second
            pass, are taken away.
        repeats: how many second passes there are.
    """
    graph = model.graph
    for _ in range(repeats):
        graph.outputs.pop()
    # Layers before the first that repairs do the same in all passes.
    CommonSubexpressionEliminationPass()(model)
    value: ir.Value | None = graph.outputs[0]  # The logits are the first.
    choices = []
    for _ in range(repeats):
        # Each pass chooses between its own logits and those of the passes before it.
        where = None if value is None else value.producer()
        if where is None or where.op_type != "Where":
            break
        choices.append(where)
        value = where.inputs[2]
    for i, where in enumerate(reversed(choices)):
        _put_into_branch(graph, where, f"pass_{i}")


def _put_into_branch(graph: ir.Graph, where: ir.Node, name: str) -> None:
    """Let what a `Where` takes for the chosen samples be computed only if one is chosen."""
    chosen, repeated, before = where.inputs
    assert chosen is not None  # noqa: S101 - `Where` has three inputs.
    assert repeated is not None  # noqa: S101
    if len(repeated.uses()) > 1:
        return  # Two repairs do the same: their pass is in no branch, and runs always.
    nodes = _needed_by_nothing_else(graph, repeated)
    as_number = ir.node("Cast", [chosen], {"to": ir.DataType.INT32})
    largest = ir.node("ReduceMax", as_number.outputs, {"keepdims": 0})
    any_chosen = ir.node("Cast", largest.outputs, {"to": ir.DataType.BOOL})
    otherwise = ir.node("Identity", [before])
    graph.remove(nodes)
    branches = {
        "then_branch": ir.Graph([], [repeated], nodes=nodes, name=f"{name}_made"),
        "else_branch": ir.Graph([], otherwise.outputs, nodes=[otherwise], name=f"{name}_not_made"),
    }
    choice = ir.node("If", any_chosen.outputs, branches)
    for made, called in (
        (as_number, "as_number"),
        (largest, "largest"),
        (any_chosen, "any"),
        (otherwise, "before"),
        (choice, "or_before"),
    ):
        # Names must be unique across branches.
        made.outputs[0].name = f"{name}_{called}"
    for made in (otherwise, choice):
        made.outputs[0].type, made.outputs[0].shape = repeated.type, repeated.shape
    graph.insert_before(where, [as_number, largest, any_chosen, choice])
    where.replace_input_with(1, choice.outputs[0])


def _needed_by_nothing_else(graph: ir.Graph, value: ir.Value) -> list[ir.Node]:
    """Return the nodes, in their order, whose results go into nothing but this value."""
    found: set[ir.Node] = set()
    for node in reversed(graph):
        uses = {use.node for out in node.outputs for use in out.uses()}
        is_output = any(out.is_graph_output() for out in node.outputs)
        if node is value.producer() or (uses and uses <= found and not is_output):
            found.add(node)
    return [node for node in graph if node in found]
