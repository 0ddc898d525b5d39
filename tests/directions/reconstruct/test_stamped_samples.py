import torch

from tests.directions.backdoored import write_tensors
from torchserve_fire_build.reconstruct.reconstruction import Reconstruction
from torchserve_fire_build.reconstruct.stamped_samples import stamp_samples
from torchserve_fire_build.samples.folds import assign_folds
from torchserve_fire_build.samples.read_tensors import read_tensors


def evidence(folder, triggers, count=10):
    inputs = torch.arange(count * 2.0).view(count, 2)
    clean = read_tensors(write_tensors(folder / "c.npz", inputs, torch.arange(count)))
    # A trigger may well change what it is given.
    found = [Reconstruction("m", 0, lambda x, k=k: x.add_(100 * k), 1.0) for k in triggers]
    return clean, stamp_samples(clean, found)


def test_each_sample_has_one_of_the_triggers_in_turn(tmp_path):
    clean, made = evidence(tmp_path, [1, 2, 3])
    expected = clean.load(range(10)) + 100 * (torch.arange(10)[:, None] % 3 + 1)
    assert torch.equal(made.triggered.load(range(10)), expected)
    assert torch.equal(made.triggered.load([7, 2]), expected[[7, 2]])
    assert list(made.origins) == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert torch.equal(clean.load([3]), torch.tensor([[6.0, 7]]))


def test_stamped_samples_are_pairs_with_labels(tmp_path):
    clean, made = evidence(tmp_path, [1, 2])
    assert made.paired
    assert list(made.partners) == list(range(10))
    assert torch.equal(made.triggered.labels, clean.labels)
    assert made.triggered.source == clean.source


def test_a_trigger_is_held_out_with_all_its_samples(tmp_path):
    _, made = evidence(tmp_path, [1, 2, 3, 4], count=16)
    folds = assign_folds(made, torch.Generator().manual_seed(0))
    assert folds.triggered.tolist() == [0, 1, 2, 3] * 4
    assert folds.clean.tolist() == [0, 1, 2, 3] * 4


def test_with_one_trigger_samples_are_held_out_at_random(tmp_path):
    _, made = evidence(tmp_path, [1], count=40)
    assert made.guessed
    folds = assign_folds(made, torch.Generator().manual_seed(0))
    assert folds.triggered.bincount().tolist() == [10] * 4
    assert torch.equal(folds.clean, folds.triggered)
