"""Models whose repaired answers can be worked out by hand, and their graphs in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Detection, Layer, repairs_of
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.onnx_graph.compare import Answers, open_session, run_graph
from torchserve_fire_build.onnx_graph.export_graph import export_graph

SHAPE = (2, 4, 4)
CHANNELS = torch.tensor([3.0, -1.0])[:, None, None]
FIRST = torch.tensor([1.0, 0.0])[:, None, None]
FIRST_LATE = Layer("late", (2,), Detection(torch.tensor([1.0, 0.0]), 2.0))
"""Flags a map whose first channel has a mean above 2, after the layer that moves it."""
SHIFTED = Layer("early", SHAPE, None, Shift(CHANNELS, 1.0))


class MeanNet(nn.Module):
    """Logits (N, 2): the mean of each channel of a map (2, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Identity()
        self.late = Means()

    def forward(self, x: Tensor) -> Tensor:
        return self.late(self.early(x))


class Means(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def maps(*means: tuple[float, float]) -> Tensor:
    """Maps whose channels are constant, (N, 2, 4, 4)."""
    return (
        torch.tensor(means, dtype=torch.float32)[:, :, None, None].expand(-1, *SHAPE).contiguous()
    )


def exported(
    layers: Sequence[Layer],
    model: nn.Module | None = None,
    *,
    shape: Sequence[int] = SHAPE,
    target: int | None = 0,
    half: bool = False,
) -> bytes:
    """The graph of a model, `MeanNet` unless another is given, with the repair by these layers."""
    model = (model or MeanNet()).eval()
    example = torch.zeros(2, *shape)
    with attach_layers(model, layers, example, target=target) as handle:
        passes = handle.passes
    return export_graph(model, repairs_of(layers, target), passes, example, half=half)


def answers(graph: bytes, inputs: Tensor) -> Answers:
    """What a graph answers to a batch; the same if each sample comes alone."""
    session = open_session(graph)
    whole = run_graph(session, inputs)
    for i, one in enumerate(inputs.split(1)):
        alone = run_graph(session, one)
        torch.testing.assert_close(alone.logits, whole.logits[i : i + 1])
        assert alone.flagged.tolist() == [bool(whole.flagged[i])]
    return whole


def attached_answers(
    layers: Sequence[Layer], inputs: Tensor, model: nn.Module, target: int | None = 0
) -> Answers:
    with torch.no_grad(), attach_layers(model, layers, inputs[:1], target=target) as handle:
        logits = model(inputs)
        verdict = handle.verdict
        return Answers(logits, verdict.flagged, verdict.scores)


def two_targets():
    """Repairs for class 0, by the first channel, and for class 1, by the second."""
    layers = []
    for target in (0, 1):
        one = torch.eye(2)[target]
        detection = Detection(one, 2.0, only_target=True)
        layers += [
            Layer("late", (2,), detection, target=target),
            Layer("early", SHAPE, None, Shift(3 * one[:, None, None], 1.0), target=target),
        ]
    return layers
