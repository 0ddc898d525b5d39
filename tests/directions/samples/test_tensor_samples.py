from tests.directions.backdoored import TENSOR
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.samples.tensor_samples import empty_samples


def test_no_samples_have_a_shape():
    description = InputDescription("tensor", (3, 6))
    samples = empty_samples(description)
    assert len(samples) == len(samples.names) == 0
    assert samples.load([]).shape == (0, 3, 6)
    assert samples.description == description
