import torch

from torchserve_fire_build.comparison.sample_digests import sample_digests
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def test_the_same_content_has_the_same_digest():
    digests = sample_digests(TensorSamples(torch.tensor([[1.0, 2], [3, 4], [1, 2]])))
    assert digests[0] == digests[2] != digests[1]
