import pytest
import torch

from tests.directions.messages import one_line
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.joined import JoinedSamples
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def part(source, *values):
    return TensorSamples(torch.tensor(values).view(-1, 1), source=source)


def test_samples_of_several_places_in_any_order():
    joined = JoinedSamples([part("a", 1.0, 2.0), part("b", 3.0), part("c", 4.0, 5.0)])
    assert len(joined) == 5
    assert joined.names == ["a/0", "a/1", "b/0", "c/0", "c/1"]
    assert joined.load([4, 0, 2, 0]).flatten().tolist() == [5, 1, 3, 1]
    assert joined.class_names is joined.labels is None


def test_samples_of_different_shapes_do_not_go_together():
    with pytest.raises(SamplesError) as caught:
        JoinedSamples([part("a", 1.0), TensorSamples(torch.zeros(2, 3), source="b")])
    one_line(caught, "b: samples of shape (3,), expected (1,) as in a")
