import pytest
import torch
from torch.utils.data import DataLoader

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.samples.kept import KeptSamples
from torchserve_fire_build.samples.samples import Samples, iterate
from torchserve_fire_build.samples.tensor_samples import TensorSamples


class Counted(Samples):
    """Vectors (i, i); notes which were loaded together."""

    def __init__(self, count):
        super().__init__(
            "counted", [str(i) for i in range(count)], InputDescription("tensor", (2,))
        )
        self.loaded = []

    def load(self, indices):
        self.loaded.append(list(indices))
        return torch.tensor([[float(i), float(i)] for i in indices])


def test_iterate_goes_through_the_indices_in_order():
    samples = TensorSamples(torch.arange(10.0)[:, None])
    seen = list(iterate(samples, [9, 3, 4, 0, 1], batch_size=2))
    assert [list(indices) for indices, _ in seen] == [[9, 3], [4, 0], [1]]
    assert [batch.flatten().tolist() for _, batch in seen] == [[9, 3], [4, 0], [1]]
    assert list(iterate(samples, [])) == []


def test_one_sample_by_its_index():
    assert Counted(3)[2].tolist() == [2, 2]


def test_negative_indices_count_from_the_end_and_indices_beyond_are_refused():
    kept = KeptSamples(Counted(3), limit=8)
    assert [kept[i].tolist() for i in (0, -1, -3)] == [[0, 0], [2, 2], [0, 0]]
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            kept[beyond]
    assert [sample.tolist() for sample in kept] == [[0, 0], [1, 1], [2, 2]]


def test_a_data_loader_reads_a_batch_at_once():
    samples = Counted(5)
    batches = list(DataLoader(samples, batch_size=2))
    assert [batch[:, 0].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert samples.loaded == [[0, 1], [2, 3], [4]]


def test_the_repr_describes_the_samples():
    assert repr(Counted(3)) == "<Counted: 3 of 2 from counted>"
    images = TensorSamples(torch.zeros(2, 3, 4, 5), source="a.npz")
    assert repr(images) == "<TensorSamples: 2 of 3 x 4 x 5 from a.npz>"


def test_class_names_and_labels_are_optional():
    samples = Counted(1)
    assert (samples.class_names, samples.labels, samples.numbered) == (None, None, False)


def test_the_base_class_cannot_load():
    samples = Samples("nothing", ["0"], InputDescription("tensor", (2,)))
    with pytest.raises(NotImplementedError):
        samples.load([0])
