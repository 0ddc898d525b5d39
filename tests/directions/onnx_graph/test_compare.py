"""A graph is compared with `attach`, and with each of several repairs alone."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from tests.directions.onnx_graph.graphs import (
    FIRST_LATE,
    SHAPE,
    SHIFTED,
    MeanNet,
    exported,
    maps,
    two_targets,
)
from torchserve_fire.format.bundle import repairs_of
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.common.errors import ExportError
from torchserve_fire_build.onnx_graph.compare import answers_of_attached, compare_graph
from torchserve_fire_build.onnx_graph.one_repair import layers_with_one_repair, with_one_repair
from torchserve_fire_build.samples.tensor_samples import TensorSamples

LAYERS = [FIRST_LATE, SHIFTED]
CLEAN = TensorSamples(maps((1, 5), (2, 0), (0, 3)))
TRIGGERED = TensorSamples(maps((4, 0), (9, 2)))


@pytest.fixture(scope="module")
def graph():
    return exported(LAYERS)


def answered(layers, samples, target=0):
    model = MeanNet().eval()
    with attach_layers(model, layers, torch.zeros(1, *SHAPE), target=target) as handle:
        return answers_of_attached(model, handle, samples)


def changed(graph, which, values):
    """The graph with other values in a constant: its only one of a shape, or that of a name."""
    proto = onnx.load_from_string(graph)
    (tensor,) = (one for one in proto.graph.initializer if which in (tuple(one.dims), one.name))
    tensor.CopyFrom(numpy_helper.from_array(np.array(values, np.float32), tensor.name))
    return proto.SerializeToString()


def test_the_graph_answers_as_attach_does(graph):
    samples = [CLEAN, TRIGGERED]
    attached = answered(LAYERS, samples)
    assert [each.flagged.tolist() for each in attached] == [[False] * 3, [True] * 2]
    found = compare_graph(graph, samples, attached)
    assert (found.samples, found.predictions) == (5, 0)
    assert found.logits < 1e-6
    assert found.scores < 1e-6


@pytest.mark.parametrize(
    ("which", "values", "said"),
    [
        # Of five logits and more between 0 and 6, one is 0.5 lower.
        ((2, 1, 1), [[[3.5]], [[-1.0]]], "logits differ by 0.0"),
        ("projections.0.threshold", 4.5, "1 of 5 samples are flagged otherwise"),
    ],
)
def test_a_graph_with_a_wrong_value_is_refused(graph, which, values, said):
    wrong = changed(graph, which, values)
    samples = [CLEAN, TRIGGERED]
    with pytest.raises(ExportError) as caught:
        compare_graph(wrong, samples, answered(LAYERS, samples))
    assert said in str(caught.value)
    assert "is not written" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_answers_that_are_no_numbers_are_refused(graph):
    wrong = changed(graph, (2, 1, 1), [[[torch.nan]], [[0.0]]])
    with pytest.raises(ExportError, match="logits differ by inf"):
        compare_graph(wrong, [TRIGGERED], answered(LAYERS, [TRIGGERED]))


def test_what_is_no_graph_is_refused():
    with pytest.raises(ExportError, match="ONNX Runtime does not take the graph"):
        compare_graph(b"no graph", [CLEAN], answered(LAYERS, [CLEAN]))


@pytest.mark.slow
def test_one_repair_of_several_alone():
    layers = two_targets()
    graph, repairs = exported(layers), repairs_of(layers, 0)
    samples = [TensorSamples(maps((4, 0), (0, 4), (1, 0), (4, 5)))]
    for only, flagged in enumerate([[True, False, False, False], [False, True, False, True]]):
        attached = answered(layers_with_one_repair(repairs, only), samples)
        assert attached[0].flagged.tolist() == flagged
        alone = with_one_repair(graph, only, 2)
        assert compare_graph(alone, samples, attached).logits < 1e-6
        with pytest.raises(ExportError, match="flagged otherwise"):
            compare_graph(graph, samples, attached)
    with pytest.raises(ExportError, match=r"lacks projections\.2\.threshold"):
        with_one_repair(graph, 0, 3)
