import onnx
import pytest
import torch
from torch import nn

from tests.directions.onnx_graph.graphs import (
    CHANNELS,
    FIRST,
    FIRST_LATE,
    SHAPE,
    SHIFTED,
    MeanNet,
    answers,
    attached_answers,
    exported,
    maps,
    two_targets,
)
from tests.handler.repair.overlays import (
    SHAPE as OVERLAY_SHAPE,
)
from tests.handler.repair.overlays import (
    clean_maps,
    input_layer,
    overlay,
    triggered,
)
from torchserve_fire.format.bundle import INPUT_LAYER, Detection, Layer
from torchserve_fire.format.correction_forms import Affine, Clamp, Local, Shift, Warp
from torchserve_fire_build.common.errors import ExportError
from torchserve_fire_build.onnx_graph.compare import open_session, run_graph


def spot() -> torch.Tensor:
    """A map of ones, with 49 at one place of the first channel: its mean is 4."""
    inputs = maps((1.0, 1.0))
    inputs[0, 0, 1, 1] = 49
    return inputs


def test_a_shift():
    graph = exported([FIRST_LATE, SHIFTED])
    # Batches of seven and of one; the third is at the threshold.
    inputs = maps((4, 0), (1, 5), (2, 0), (2.5, 1), (0, 0), (-4, 3), (10, -1))
    found = answers(graph, inputs)
    assert found.flagged.tolist() == [True, False, False, True, False, False, True]
    moved = torch.tensor([[1.0, 1], [1, 5], [2, 0], [-0.5, 2], [0, 0], [-4, 3], [7, 0]])
    torch.testing.assert_close(found.logits, moved)
    torch.testing.assert_close(found.scores, inputs[:, 0, 0, 0])
    inputs = maps((1, 5), (0, 0), (0, 0))
    inputs[1, 0, 0, 0], inputs[2, 0, 0, 0] = torch.nan, -torch.inf
    # Such scores do not show a sample to be clean.
    assert run_graph(open_session(graph), inputs).flagged.tolist() == [False, True, True]
    # The second pass runs only if it is needed.
    (branch,) = (
        attribute.g
        for node in onnx.load_from_string(graph).graph.node
        for attribute in node.attribute
        if attribute.name == "then_branch"
    )
    assert [node.op_type for node in branch.node] == ["Sub", "ReduceMean"]
    # Nothing names a file of this machine.
    assert b".py" not in graph


@pytest.mark.slow
def test_half_the_way_of_an_affine_transport():
    slope = torch.tensor([[0.5, 0], [0, 0]])
    correction = Affine(FIRST, 0.5, slope=slope)
    graph = exported([FIRST_LATE, Layer("early", SHAPE, None, correction)])
    found = answers(graph, maps((4, 3), (1, 5)))
    # 4 - 0.5 * (1 + 0.5 * 4)
    torch.testing.assert_close(found.logits, torch.tensor([[2.5, 3], [1, 5]]))


@pytest.mark.slow
def test_a_clamp():
    # Spread over the 16 places of the first channel, the unit vector is 1 / 4: s = 4 * mean.
    correction = Clamp(FIRST, 1.0, threshold=10, anchor=2)
    graph = exported([FIRST_LATE, Layer("early", SHAPE, None, correction)])
    found = answers(graph, maps((4, 3), (1, 5), (2.25, 0)))
    assert found.flagged.tolist() == [True, False, True]
    # 4 - (16 - 2) / 4; the third is flagged, but not beyond the clamp's own threshold.
    torch.testing.assert_close(found.logits, torch.tensor([[0.5, 3], [1, 5], [2.25, 0]]))


@pytest.mark.slow
def test_a_local_replacement():
    correction = Local(FIRST, 1.0, threshold=3, replacement=torch.zeros(2, 1, 1))
    graph = exported([FIRST_LATE, Layer("early", SHAPE, None, correction)])
    found = answers(graph, torch.cat([spot(), maps((1, 5), (4, 2))]))
    assert found.flagged.tolist() == [True, False, True]
    # The spot becomes what is around it. Where it shows everywhere, the mean clean channels.
    torch.testing.assert_close(found.logits, torch.tensor([[1.0, 1], [1, 5], [0, 0]]))


@pytest.mark.slow
def test_detecting_before_repairing_takes_one_pass():
    detects = Layer("early", SHAPE, Detection(FIRST / 16, 2.0))
    repairs = Layer("late", (2,), None, Shift(torch.tensor([3.0, -1.0]), 1.0))
    graph = exported([detects, repairs])
    found = answers(graph, maps((4, 0), (1, 5)))
    assert found.flagged.tolist() == [True, False]
    torch.testing.assert_close(found.logits, torch.tensor([[1.0, 1], [1, 5]]))
    assert "If" not in operations(graph)


@pytest.mark.slow
def test_without_a_detection_every_sample_is_repaired_and_has_no_score():
    graph = exported([SHIFTED])
    found = answers(graph, maps((4, 0), (1, 5)))
    assert found.flagged.tolist() == [True, True]
    assert found.scores is None
    torch.testing.assert_close(found.logits, torch.tensor([[1.0, 1], [-2, 6]]))


@pytest.mark.slow
def test_only_what_is_predicted_as_the_target():
    late = Layer("late", (2,), Detection(torch.tensor([1.0, 0.0]), 2.0, only_target=True))
    graph = exported([late, SHIFTED])
    found = answers(graph, maps((4, 0), (4, 5)))
    assert found.flagged.tolist() == [True, False]
    torch.testing.assert_close(found.logits, torch.tensor([[1.0, 1], [4, 5]]))


def test_several_targets():
    graph = exported(two_targets())
    found = answers(graph, maps((4, 0), (0, 4), (1, 0), (4, 5)))
    assert found.flagged.tolist() == [True, True, False, True]
    torch.testing.assert_close(found.logits, torch.tensor([[1.0, 0], [0, 1], [1, 0], [4, 2]]))
    # Each has the score of the repair whose target it is predicted as.
    torch.testing.assert_close(found.scores, torch.tensor([4.0, 4, 1, 5]))
    assert operations(graph).count("If") == 2


@pytest.mark.slow
def test_a_sample_that_is_still_the_target_goes_on_to_the_next_repair():
    detection = Detection(torch.tensor([1.0, 0.0]), 2.0, only_target=True)
    layers = []
    for repair, size in enumerate((1.0, 5.0)):
        layers += [
            Layer("late", (2,), detection, repair=repair),
            Layer("early", SHAPE, None, Shift(size * FIRST, 1.0), repair=repair),
        ]
    graph = exported(layers)
    found = answers(graph, maps((4, 0), (4, 3.5), (1, 0)))
    # By the first alone, 4 - 1 is still the greater one of the first sample.
    torch.testing.assert_close(found.logits, torch.tensor([[-1.0, 0], [3, 3.5], [1, 0]]))


@pytest.mark.parametrize("limit", [100.0, 1.5])
@pytest.mark.slow
def test_an_overlay_of_the_input(limit):
    # Where it covers all of the clean input, that is filled in from around.
    of = overlay(slope=-1.0, limit=limit)
    layers = [input_layer(of)]
    clean = clean_maps(7)
    places = [(0, 0), (1, 2), (3, 3), (2, 0), (0, 2), (1, 1), (3, 0)]
    inputs = torch.cat([clean[:3], triggered(clean, of, places)[3:]])
    model = MeanNet().eval()
    graph = exported(layers, model, shape=OVERLAY_SHAPE)
    found, expected = answers(graph, inputs), attached_answers(layers, inputs, model)
    assert found.flagged.tolist() == expected.flagged.tolist() == [False] * 3 + [True] * 4
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.logits, clean.mean((2, 3)), atol=0.1, rtol=0)


@pytest.mark.slow
def test_a_warp_of_the_input():
    # The trigger turns maps upside down: the first row is where the last one was.
    moves = torch.zeros(2, 3, 3)
    moves[0] = 2 - 2 * torch.arange(3.0)[:, None]
    weight = torch.tensor([-1.0, 0, 1]).view(1, 3, 1).expand(2, 3, 3).contiguous()
    layers = [
        Layer("early", (2, 3, 3), Detection(weight, 0.5)),
        Layer(INPUT_LAYER, (2, 3, 3), correction=Warp(moves, 1.0)),
    ]
    clean = torch.arange(18.0).view(1, 2, 3, 3).flip(2) + torch.arange(4.0).view(4, 1, 1, 1)
    inputs = torch.cat([clean[:2], clean[2:].flip(2)])

    class Weighted(MeanNet):
        def forward(self, x):
            return self.late(self.early(x) * torch.tensor([3.0, 2, 1]).view(3, 1))

    model = Weighted().eval()
    graph = exported(layers, model, shape=(2, 3, 3))
    found, expected = answers(graph, inputs), attached_answers(layers, inputs, model)
    assert found.flagged.tolist() == expected.flagged.tolist() == [False, False, True, True]
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.logits, model(clean))


@pytest.mark.slow
def test_in_half_precision_the_answers_stay_float32():
    class Net(MeanNet):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2, 1, 1))

        def forward(self, x):
            return super().forward(self.scale * x)

    model = Net()
    graph = exported([FIRST_LATE, SHIFTED], model, half=True)
    kinds = {
        tensor.name: tensor.data_type for tensor in onnx.load_from_string(graph).graph.initializer
    }
    assert kinds["model.scale"] == onnx.TensorProto.FLOAT16
    assert kinds["projections.0.threshold"] == onnx.TensorProto.FLOAT
    assert model.scale.dtype == torch.float32
    found = answers(graph, maps((4, 0), (1, 5)))
    assert found.flagged.tolist() == [True, False]
    assert found.logits.dtype == found.scores.dtype == torch.float32
    assert found.logits.tolist() == [[1, 1], [1, 5]]


@pytest.mark.slow
def test_a_model_that_no_tracer_can_follow():
    class Looks(MeanNet):
        def forward(self, x):
            return super().forward(x if bool(x.sum() > 0) else -x)

    with pytest.raises(ExportError, match=r"^Looks: cannot be exported to ONNX with its repair: "):
        exported([FIRST_LATE, SHIFTED], Looks())


@pytest.mark.slow
def test_two_repairs_that_do_the_same():  # Their second pass is one.
    layers = []
    for repair, weight in enumerate(torch.eye(2)):
        detection = Detection(weight, 2.0)
        layers += [
            Layer("late", (2,), detection, repair=repair),
            Layer("early", SHAPE, None, Shift(CHANNELS, 1.0), repair=repair),
        ]
    graph = exported(layers)
    found = answers(graph, maps((4, 0), (1, 5), (1, 0)))
    assert found.flagged.tolist() == [True, True, False]
    torch.testing.assert_close(found.logits, torch.tensor([[1.0, 1], [-2, 6], [1, 0]]))


def operations(graph):
    return [node.op_type for node in onnx.load_from_string(graph).graph.node]
