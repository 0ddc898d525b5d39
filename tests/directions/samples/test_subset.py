import torch

from tests.directions.backdoored import write_images, write_tensors
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.read_tensors import read_tensors
from torchserve_fire_build.samples.subset import Subset, unlabelled

CONFIG = HandlerConfig(input="image", image_size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))


def tensors(folder):
    inputs = torch.arange(12.0).view(4, 3)
    return read_tensors(write_tensors(folder / "a.npz", inputs, torch.tensor([3, 2, 1, 0])))


def test_a_subset_has_the_samples_in_the_order_of_the_indices(tmp_path):
    some = Subset(tensors(tmp_path), [2, 0])
    assert len(some) == 2
    assert some.load([0]).tolist() == [[6, 7, 8]]
    assert some.load([1, 0]).tolist() == [[0, 1, 2], [6, 7, 8]]
    assert some.labels.tolist() == [1, 3]
    assert list(some.names) == ["2", "0"]
    assert some.class_names is None
    assert some.source == tmp_path / "a.npz"
    assert some.description.shape == (3,)


def test_a_subset_of_images_keeps_their_folders(tmp_path):
    samples = open_samples(write_images(tmp_path / "a", [0, 1, 2]), CONFIG)
    some = Subset(samples, [1])
    assert some.class_names == [samples.class_names[1]]
    assert some.names == [samples.names[1]]
    assert some.labels is None
    assert some.source == tmp_path / "a"
    assert torch.equal(some.load([0]), samples.load([1]))


def test_a_subset_may_be_empty(tmp_path):
    none = Subset(tensors(tmp_path), [])
    assert (len(none), list(none.names), none.labels.tolist()) == (0, [], [])


def test_samples_of_a_pool_have_no_classes_and_make_no_pairs(tmp_path):
    pool = open_samples(write_images(tmp_path / "pool", [0, 1, 2, 3] * 4), CONFIG)
    clean = open_samples(write_images(tmp_path / "clean", [0, 1, 2, 3] * 4), CONFIG)
    some = unlabelled(pool, [3, 0, 5])
    assert some.class_names is None
    assert some.labels is None
    assert torch.equal(some.load([0, 2]), pool.load([3, 5]))
    assert not gather_evidence(clean, some).paired
    inner = open_samples(write_images(tmp_path / "of" / "pool", [0, 1, 2, 3] * 4).parent, CONFIG)
    assert all(name.startswith("pool/") for name in inner.names)
    assert not gather_evidence(inner, some).paired
    others = unlabelled(pool, [1, 2, 4])
    assert not gather_evidence(others, some).paired
