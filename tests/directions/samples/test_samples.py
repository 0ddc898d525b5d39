import torch

from tests.directions.backdoored import TENSOR, write_tensors
from torchserve_fire_build.samples.samples import iterate, open_samples


def test_iterate_goes_through_the_indices_in_order(tmp_path):
    path = write_tensors(tmp_path / "s.npz", torch.arange(10.0)[:, None])
    samples = open_samples(path, TENSOR)
    seen = list(iterate(samples, [9, 3, 4, 0, 1], batch_size=2))
    assert [list(indices) for indices, _ in seen] == [[9, 3], [4, 0], [1]]
    assert [batch.flatten().tolist() for _, batch in seen] == [[9, 3], [4, 0], [1]]
    assert list(iterate(samples, [])) == []
