import pytest
import torch

from tests.directions.backdoored import TENSOR, write_tensors
from torchserve_fire_build.choose.held_out import MAX_SAMPLES, Group, hold_out
from torchserve_fire_build.samples.evidence import Evidence
from torchserve_fire_build.samples.folds import FOLDS, Folds
from torchserve_fire_build.samples.open_samples import open_samples


def samples_of(path, count):
    """Samples whose only number is their row."""
    return open_samples(write_tensors(path, torch.arange(float(count))[:, None]), TENSOR)


def logits_for(classes):
    return torch.nn.functional.one_hot(torch.as_tensor(classes), 4).float()


def held(tmp_path, clean, triggered, partners=(), seed=0, use=None, **labels):
    evidence = Evidence(
        samples_of(tmp_path / "c.npz", clean), samples_of(tmp_path / "t.npz", triggered), partners
    )
    return hold_out(
        evidence,
        Folds(torch.arange(clean) % FOLDS, torch.arange(triggered) % FOLDS),
        clean_logits=logits_for(torch.arange(clean) % 4),
        triggered_logits=logits_for([0] * triggered),
        clean_labels=labels.get("clean_labels"),
        triggered_labels=labels.get("triggered_labels"),
        generator=torch.Generator().manual_seed(seed),
        use=use,
    )


def test_all_are_held_out_where_they_are_few(tmp_path):
    groups = held(tmp_path, 10, 9)
    assert groups.clean.inputs.flatten().tolist() == list(range(10))
    assert groups.triggered.inputs.flatten().tolist() == list(range(9))
    assert groups.clean.folds.tolist() == [i % FOLDS for i in range(10)]
    assert groups.clean.predictions.tolist() == [i % 4 for i in range(10)]
    assert groups.triggered.predictions.tolist() == [0] * 9


def test_memory_does_not_grow_with_the_samples(tmp_path):
    groups = held(tmp_path, 1000, 900)
    for group, count in ((groups.clean, 1000), (groups.triggered, 900)):
        rows = group.inputs.flatten().long()
        assert len(rows) == MAX_SAMPLES
        assert len(set(rows.tolist())) == MAX_SAMPLES
        assert int(rows.max()) < count
        # What belongs to a sample stays with it.
        assert torch.equal(group.folds, rows % FOLDS)
    rows = groups.clean.inputs.flatten().long()
    assert torch.equal(groups.clean.predictions, rows % 4)
    assert torch.equal(groups.clean.reference, rows % 4)


def test_only_triggered_samples_that_may_be_used_are_drawn(tmp_path):
    for triggered, expected in ((9, 3), (1500, MAX_SAMPLES)):
        use = torch.arange(triggered) % 3 == 1
        groups = held(tmp_path, 10, triggered, use=use, triggered_labels=torch.arange(triggered))
        rows = groups.triggered.inputs.flatten().long()
        assert len(rows.unique()) == len(rows) == expected
        assert use[rows].all()
        assert torch.equal(groups.triggered.reference, rows)
        assert torch.equal(groups.triggered.folds, rows % FOLDS)
        assert len(groups.clean.inputs) == 10


def test_the_seed_decides_which(tmp_path):
    first, again, other = (held(tmp_path, 1000, 8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.clean.inputs, again.clean.inputs)
    assert not torch.equal(first.clean.inputs, other.clean.inputs)


def test_labels_are_the_reference(tmp_path):
    groups = held(
        tmp_path, 8, 9, clean_labels=torch.full((8,), 3), triggered_labels=torch.full((9,), 2)
    )
    assert groups.clean.reference.tolist() == [3] * 8
    assert groups.triggered.reference.tolist() == [2] * 9


def test_without_labels_what_the_partner_is_predicted_as_is_right(tmp_path):
    groups = held(tmp_path, 10, 8, partners=[9, 8, 7, 6, 5, 4, 3, 2])
    assert groups.clean.reference.tolist() == [i % 4 for i in range(10)]
    assert groups.triggered.reference.tolist() == [1, 0, 3, 2, 1, 0, 3, 2]


def test_of_pairs_the_probabilities_of_the_partner_are_kept(tmp_path):
    groups = held(tmp_path, 10, 3, partners=[5, 2, 7])
    expected = logits_for([1, 2, 3]).softmax(1)
    torch.testing.assert_close(groups.triggered.expected, expected)
    assert groups.clean.expected is None
    assert held(tmp_path, 10, 3).triggered.expected is None


def test_without_labels_and_partners_nobody_knows(tmp_path):
    groups = held(tmp_path, 10, 8)
    assert groups.clean.reference is not None
    assert groups.triggered.reference is None


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_each_sample_comes_once_in_its_fold(batch_size):
    folds = torch.tensor([2, 0, 1, 3, 2, 2, 0])
    group = Group(torch.zeros(7, 1), folds, torch.zeros(7, 4), None)
    which = torch.tensor([True, True, False, True, True, True, True])
    seen = list(group.by_fold(which, batch_size))
    assert all(folds[i] == fold for fold, indices in seen for i in indices.tolist())
    assert all(0 < len(indices) <= batch_size for _, indices in seen)
    assert sorted(i for _, indices in seen for i in indices.tolist()) == [0, 1, 3, 4, 5, 6]
