"""Undoing an overlay of the input in an exported graph: one round of it, in an ONNX `Loop`.

Traced as they are, the rounds would be thousands of nodes, and run for inputs without a trigger.
"""

from __future__ import annotations

import onnx_ir as ir
from torch import Tensor, nn

from torchserve_fire.repair.overlay import ROUNDS, OverlayRemoval

from .names import CHOSEN, INPUT, WITHOUT

ROUND_NAMES = (["whole_before", "among"], ["go_on", "whole", "found"])
"""Of what a round takes and gives."""


class OverlayRound(nn.Module):
    """One round of `OverlayRemoval.forward`.

    Args:
        removal: whose.
    """

    def __init__(self, removal: OverlayRemoval) -> None:
        super().__init__()
        self.removal = removal

    def forward(self, whole: Tensor, among: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Undo the trigger at one place.

        Args:
            whole: maps, (N, C, H, W) float32.
            among: in which of them it may be, (N,) bool.

        Returns:
            Whether it was found in any, () bool; the maps; in which it was found, (N,) bool.
        """
        place, found = self.removal.find(whole, among)
        return found.any(), self.removal.undo(whole, place, found), found


def undo_overlay(model: ir.Model, repair: int, body: ir.Model) -> None:
    """Put the rounds into a traced graph, in the place of one of its inputs.

    Args:
        model: as traced from `RepairedGraph`; changed in place.
        repair: whose overlay it is.
        body: as traced from `OverlayRound`; it becomes a part of the graph.
    """
    graph, prefix = model.graph, f"round_{repair}_"
    nodes = list(body.graph)
    values = [*body.graph.inputs, *(value for node in nodes for value in node.outputs)]
    constants = list(body.graph.initializers.values())
    for value in (*values, *constants):
        value.name = f"{prefix}{value.name}"
    body.graph.initializers.clear()
    for constant in constants:
        graph.register_initializer(constant)
    outputs = list(body.graph.outputs)
    body.graph.remove(nodes)
    number = ir.val(f"{prefix}number", ir.DataType.INT64, [])
    before = ir.val(f"{prefix}go_on_before", ir.DataType.BOOL, [])
    inputs = list(body.graph.inputs)
    body.graph.inputs.clear()
    body.graph.outputs.clear()
    inner = ir.Graph([number, before, *inputs], outputs, nodes=nodes, name=f"{prefix}undo")

    most = ir.node("Constant", [], {"value": ir.tensor(ROUNDS, ir.DataType.INT64)})
    most.outputs[0].name = f"{prefix}most"
    named = {value.name: value for value in (*graph.inputs, *graph.outputs)}
    chosen, without = named[f"{CHOSEN}{repair}"], named[f"{WITHOUT}{repair}"]
    carried = [most.outputs[0], None, named[INPUT], chosen]
    loop = ir.node("Loop", carried, {"body": inner}, num_outputs=2)
    for value, like in zip(loop.outputs, (without, chosen), strict=True):
        value.type, value.shape = like.type, like.shape
    loop.outputs[0].name, loop.outputs[1].name = f"{prefix}all", f"{prefix}found_at_last"
    producer = chosen.producer()
    assert producer is not None  # noqa: S101 - it is computed.
    graph.insert_after(producer, [most, loop])
    without.replace_all_uses_with(loop.outputs[0])
    graph.inputs.remove(without)
