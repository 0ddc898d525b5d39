"""Undoing an overlay of the input in an exported graph: one attempt at it, in an ONNX `Loop`.

Traced as they are, the attempts would be thousands of nodes, and run for inputs without a trigger.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from torchserve_fire.repair.overlay import GAIN_STEPS, ROUNDS, OverlayRemoval, next_gain

from .names import CHOSEN, INPUT, WITHOUT

ATTEMPTS = 1 + GAIN_STEPS
"""In each round: with a gain of 1, and with gains that are corrected."""

INPUT_NAMES = ("number", "whole", "among", "gain", "wrong")
OUTPUT_NAMES = ("go_on", "whole_after", "among_after", "gain_after", "wrong_after")
"""Of what an attempt takes and gives."""


class OverlayAttempt(nn.Module):
    """One attempt of `OverlayRemoval`: the rounds of `forward` with the attempts of `undo` in them.

    Args:
        removal: whose.
    """

    def __init__(self, removal: OverlayRemoval) -> None:
        super().__init__()
        self.removal = removal

    def example(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return arguments of `forward`, for inputs (N, C, H, W)."""
        number, some = torch.tensor(0), torch.ones(len(inputs), dtype=torch.bool)
        return number, inputs, some, torch.ones(inputs.shape[:2]), some.clone()

    def forward(
        self, number: Tensor, whole: Tensor, among: Tensor, gain: Tensor, wrong: Tensor
    ) -> tuple[Tensor, ...]:
        """Undo the trigger at one place with some gains.

        Args:
            number: of the attempt, () int64, over all rounds.
            whole: maps as the round has begun with them, (N, C, H, W) float32.
            among: in which of them the trigger may be, (N,) bool.
            gain: to try, (N, C); a round begins with 1, whatever stands there.
            wrong: where a gain of 1 is wrong, (N,) bool; that is known after the first attempt.

        Returns:
            Whether the trigger was found in any map, () bool; and all but the number anew.
        """
        step = number % ATTEMPTS
        first, last = step == 0, step == ATTEMPTS - 1
        place, found = self.removal.find(whole, among)
        gauges = self.removal.gauges_at(place)
        gain = torch.where(first, torch.ones_like(gain), gain)
        attempt = self.removal.attempt(whole, place, gauges, gain)
        # ONNX Runtime has no `Where` for truth values.
        wrong = (first & self.removal.is_wrong(attempt, place, gauges)) | (~first & wrong)
        undone = last & found
        return (
            found.any(),
            torch.where(undone.view(-1, 1, 1, 1), attempt.without, whole),
            (last & found) | (~last & among),
            next_gain(gain, attempt, wrong),
            wrong,
        )


def undo_overlay(model: ir.Model, repair: int, body: ir.Model) -> None:
    """Put the attempts into a traced graph, in the place of one of its inputs.

    Args:
        model: as traced from `RepairedGraph`; changed in place.
        repair: whose overlay it is.
        body: as traced from `OverlayAttempt`; it becomes a part of the graph.
    """
    graph, prefix = model.graph, f"overlay_{repair}_"
    named = {value.name: value for value in (*graph.inputs, *graph.outputs)}
    inputs, chosen, without = (
        named[name] for name in (INPUT, f"{CHOSEN}{repair}", f"{WITHOUT}{repair}")
    )
    most = ir.node("Constant", [], {"value": ir.tensor(ROUNDS * ATTEMPTS, ir.DataType.INT64)})
    shape = ir.node("Shape", [inputs], {"start": 0, "end": 2})
    one = ir.tensor(np.ones(1, dtype=np.float32))
    gain = ir.node("ConstantOfShape", shape.outputs, {"value": one})
    carried = [inputs, chosen, gain.outputs[0], chosen]
    loop = ir.node(
        "Loop",
        [most.outputs[0], None, *carried],
        {"body": _loop_body(graph, body.graph, prefix)},
        num_outputs=len(carried),
    )
    for made, names in (
        (most, ["most"]),
        (shape, ["shape"]),
        (gain, ["gain_1"]),
        (loop, ["without", "among_at_last", "gain_at_last", "wrong_at_last"]),
    ):
        for value, name in zip(made.outputs, names, strict=True):
            value.name = f"{prefix}{name}"
    loop.outputs[0].type, loop.outputs[0].shape = without.type, without.shape
    for node, position in tuple(without.uses()):
        if node.op_type == "Shape":
            # The size of the batch may have been taken from any input.
            node.replace_input_with(position, inputs)
    producer = chosen.producer()
    assert producer is not None  # noqa: S101 - it is computed.
    graph.insert_after(producer, [most, shape, gain, loop])
    without.replace_all_uses_with(loop.outputs[0])
    graph.inputs.remove(without)


def _loop_body(graph: ir.Graph, body: ir.Graph, prefix: str) -> ir.Graph:
    """Return a traced graph as the body of a loop in another one, which gets its constants."""
    nodes, inputs, outputs = list(body), list(body.inputs), list(body.outputs)
    constants = list(body.initializers.values())
    for value in (*inputs, *constants, *(value for node in nodes for value in node.outputs)):
        value.name = f"{prefix}{value.name}"
    body.initializers.clear()
    body.inputs.clear()
    body.outputs.clear()
    body.remove(nodes)
    for constant in constants:
        graph.register_initializer(constant)
    number, *carried = inputs
    go_on = ir.val(f"{prefix}go_on_before", ir.DataType.BOOL, [])
    return ir.Graph([number, go_on, *carried], outputs, nodes=nodes, name=f"{prefix}attempt")
