import pytest
import torch

from tests.directions.backdoored import write_images
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire_build.samples import kept
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.kept import KeptSamples, in_memory, keep_both, keep_decoded
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.samples import Samples
from torchserve_fire_build.samples.subset import Subset
from torchserve_fire_build.samples.tensor_samples import TensorSamples

CONFIG = HandlerConfig(input="image", image_size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))
BYTES = 8
"""Of one sample of `Counted`."""


class Counted(Samples):
    """Vectors (i, -i); counts how often each was decoded."""

    def __init__(self, count=6):
        description = InputDescription("tensor", (2,))
        super().__init__("counted", list("abcdef"[:count]), description)
        self.decoded = [0] * count

    def load(self, indices):
        for i in indices:
            self.decoded[i] += 1
        return torch.tensor([[float(i), -float(i)] for i in indices]).view(-1, 2)


def test_each_sample_is_decoded_once():
    samples = Counted()
    kept = KeptSamples(samples)
    for indices in ([0, 1, 2], [2, 3, 0], [5, 4, 3, 2, 1, 0], [1]):
        assert kept.load(indices)[:, 0].tolist() == indices
    assert samples.decoded == [1] * 6


def test_samples_beyond_the_limit_are_decoded_each_time():
    samples = Counted()
    kept = KeptSamples(samples, limit=3 * BYTES + 1)
    for _ in range(2):
        assert torch.equal(kept.load([5, 2, 3, 0]), Counted().load([5, 2, 3, 0]))
    assert samples.decoded == [1, 0, 1, 2, 0, 2]
    assert not kept.holds_all


def test_without_any_room_all_samples_are_decoded_each_time():
    samples = Counted()
    kept = KeptSamples(samples, limit=0)
    for _ in range(2):
        assert kept.load([1, 0])[:, 0].tolist() == [1, 0]
    assert samples.decoded == [2, 2, 0, 0, 0, 0]


def test_a_sample_may_be_asked_for_twice_at_once():
    assert KeptSamples(Counted()).load([1, 1, 0])[:, 0].tolist() == [1, 1, 0]
    kept = KeptSamples(Counted())
    kept.load([0])
    assert kept.load([1, 0, 1])[:, 0].tolist() == [1, 0, 1]


def test_kept_samples_do_not_change():
    kept = KeptSamples(Counted())
    for _ in range(3):
        batch = kept.load([2, 4])
        assert batch.tolist() == [[2, -2], [4, -4]]
        batch.fill_(9)


def test_it_holds_all_once_all_are_read():
    kept = KeptSamples(Counted())
    assert not kept.holds_all
    kept.load([0, 1, 2, 3, 4])
    assert not kept.holds_all
    kept.load([5])
    assert kept.holds_all


def test_integers_stay_integers():
    samples = TensorSamples(torch.tensor([[1, 2], [3, 4]]))
    kept = KeptSamples(samples)
    for _ in range(2):
        batch = kept.load([1])
        assert (batch.dtype, batch.tolist()) == (torch.int64, [[3, 4]])


def test_kept_images_are_those_of_the_folder(tmp_path):
    images = open_samples(write_images(tmp_path, [0, 1, 2, 3]), CONFIG)
    kept = keep_decoded(images)
    assert isinstance(kept, KeptSamples)
    for _ in range(2):
        assert torch.equal(kept.load([3, 1]), images.load([3, 1]))
    assert (kept.names, kept.class_names) == (images.names, images.class_names)
    assert (kept.source, kept.description) == (tmp_path, images.description)
    assert (kept.labels, kept.numbered) == (None, False)


def test_labels_and_numbering_are_those_of_the_samples():
    samples = TensorSamples(torch.zeros(2, 2), torch.tensor([1, 0]))
    kept = KeptSamples(samples)
    assert kept.labels.tolist() == [1, 0]
    assert kept.numbered


def test_samples_that_are_in_memory_or_kept_are_returned_as_they_are():
    for samples in (TensorSamples(torch.zeros(2, 2)), KeptSamples(Counted())):
        assert keep_decoded(samples) is samples


@pytest.mark.parametrize("whole", [True, False])
def test_a_subset_in_memory_is_read_from_memory_alone(whole):
    samples = Counted()
    kept = KeptSamples(samples, limit=100 if whole else 2 * BYTES)
    kept.load(range(6))
    some = in_memory(kept, [4, 0, 3])
    decoded = list(samples.decoded)
    for _ in range(2):
        assert some.load([2, 0])[:, 0].tolist() == [3, 4]
    assert samples.decoded == decoded
    assert len(some) == 3
    assert some.source == "counted"
    assert some.description == samples.description
    # What is held already is not held twice.
    assert isinstance(some, Subset) == whole


def test_tensors_are_not_copied():
    some = in_memory(TensorSamples(torch.arange(6.0).view(3, 2)), [2, 1])
    assert isinstance(some, Subset)
    assert some.load([0]).tolist() == [[4, 5]]


@pytest.mark.parametrize(
    ("clean", "triggered", "decoded_once"),
    [
        # Half of the room of six samples is for each, and what the other one leaves.
        (6, 6, (3, 3)),
        (6, 1, (5, 1)),
        (2, 6, (2, 4)),
    ],
)
def test_clean_and_triggered_samples_share_the_limit(monkeypatch, clean, triggered, decoded_once):
    monkeypatch.setattr(kept, "KEPT_BYTES", 6 * BYTES)
    counted = Both(Counted(clean), Counted(triggered))
    for samples in keep_both(counted):
        for _ in range(2):
            samples.load(range(len(samples)))
    assert tuple(samples.decoded.count(1) for samples in counted) == decoded_once
