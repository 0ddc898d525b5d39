import pytest
import torch

from tests.directions.choose.prepared import group_of, inputs_of
from torchserve_fire_build.choose.held_out import MAX_SAMPLES, hold_out
from torchserve_fire_build.measure.observation import Observation
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.evidence import Evidence
from torchserve_fire_build.samples.folds import FOLDS
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def samples_of(count):
    """Samples whose only number is their row."""
    return TensorSamples(torch.arange(float(count))[:, None])


def logits_for(classes):
    return torch.nn.functional.one_hot(torch.as_tensor(classes), 4).float()


def held(clean, triggered, partners=(), seed=0, use=None, labels=(None, None), origins=()):
    evidence = Evidence(samples_of(clean), samples_of(triggered), partners, origins)
    logits = Both(logits_for(torch.arange(clean) % 4), logits_for([0] * triggered))
    return hold_out(
        Observation(evidence, 4, Both(*labels), logits),
        Both(torch.arange(clean) % FOLDS, torch.arange(triggered) % FOLDS),
        generator=torch.Generator().manual_seed(seed),
        use=use,
    )


def test_few_samples_are_all_held_out():
    groups = held(10, 9)
    assert inputs_of(groups.clean).flatten().tolist() == list(range(10))
    assert inputs_of(groups.triggered).flatten().tolist() == list(range(9))
    assert groups.clean.folds.tolist() == [i % FOLDS for i in range(10)]
    assert groups.clean.predictions.tolist() == [i % 4 for i in range(10)]
    assert groups.triggered.predictions.tolist() == [0] * 9


def test_without_labels_clean_samples_are_measured_by_agreement():
    assert held(10, 9).clean.true_classes is None
    labels = torch.arange(10) % 4
    assert torch.equal(held(10, 9, labels=(labels, None)).clean.true_classes, labels)


def test_memory_does_not_grow_with_the_samples():
    groups = held(1000, 900)
    for group, count in ((groups.clean, 1000), (groups.triggered, 900)):
        rows = inputs_of(group).flatten().long()
        assert len(rows) == MAX_SAMPLES
        assert len(set(rows.tolist())) == MAX_SAMPLES
        assert int(rows.max()) < count
        # What belongs to a sample stays with it.
        assert torch.equal(group.folds, rows % FOLDS)
    rows = inputs_of(groups.clean).flatten().long()
    assert torch.equal(groups.clean.predictions, rows % 4)
    assert torch.equal(groups.clean.reference, rows % 4)


def test_only_triggered_samples_that_may_be_used_are_drawn():
    for triggered, expected in ((9, 3), (1500, MAX_SAMPLES)):
        use = torch.arange(triggered) % 3 == 1
        groups = held(10, triggered, use=use, labels=(None, torch.arange(triggered)))
        rows = inputs_of(groups.triggered).flatten().long()
        assert len(rows.unique()) == len(rows) == expected
        assert use[rows].all()
        assert torch.equal(groups.triggered.reference, rows)
        assert torch.equal(groups.triggered.folds, rows % FOLDS)
        assert len(inputs_of(groups.clean)) == 10


def test_the_seed_decides_which_samples_are_drawn():
    first, again, other = (held(1000, 8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(inputs_of(first.clean), inputs_of(again.clean))
    assert not torch.equal(inputs_of(first.clean), inputs_of(other.clean))


def test_labels_are_the_reference():
    groups = held(8, 9, labels=(torch.full((8,), 3), torch.full((9,), 2)))
    assert groups.clean.reference.tolist() == [3] * 8
    assert groups.triggered.reference.tolist() == [2] * 9


def test_without_labels_the_prediction_on_the_partner_is_right():
    groups = held(10, 8, partners=[9, 8, 7, 6, 5, 4, 3, 2])
    assert groups.clean.reference.tolist() == [i % 4 for i in range(10)]
    assert groups.triggered.reference.tolist() == [1, 0, 3, 2, 1, 0, 3, 2]


def test_with_pairs_the_partners_probabilities_are_expected():
    groups = held(10, 3, partners=[5, 2, 7])
    expected = logits_for([1, 2, 3]).softmax(1)
    torch.testing.assert_close(groups.triggered.expected, expected)
    assert groups.clean.expected is None
    assert held(10, 3).triggered.expected is None


def test_without_labels_and_partners_there_is_no_reference():
    groups = held(10, 8)
    assert groups.clean.reference is not None
    assert groups.triggered.reference is None


def test_whether_triggers_are_guesses():
    assert held(8, 8, partners=range(8), origins=[0, 1] * 4).guessed
    assert not held(8, 8, partners=range(8)).guessed


def test_whether_the_model_is_right_on_the_partners():
    of_pairs = held(10, 3, partners=[5, 2, 7], labels=(None, torch.tensor([1, 0, 3])))
    assert of_pairs.triggered.partners_right.tolist() == [True, False, True]
    assert held(10, 3).triggered.partners_right is None
    assert of_pairs.clean.partners_right is None


def test_held_out_samples_are_a_pair_of_groups():
    clean, triggered = groups = held(8, 9)
    assert (len(clean.samples), len(triggered.samples)) == (8, 9)
    assert groups.map(lambda group: len(group.folds)) == Both(8, 9)
    assert groups.clean.load(torch.tensor([4, 1])).flatten().tolist() == [4, 1]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_each_sample_comes_once_in_its_fold(batch_size):
    folds = [2, 0, 1, 3, 2, 2, 0]
    group = group_of(torch.zeros(7, 1), folds, torch.zeros(7, 4))
    which = torch.tensor([True, True, False, True, True, True, True])
    seen = list(group.by_fold(which, batch_size))
    assert all(folds[i] == fold for fold, indices in seen for i in indices.tolist())
    assert all(0 < len(indices) <= batch_size for _, indices in seen)
    assert sorted(i for _, indices in seen for i in indices.tolist()) == [0, 1, 3, 4, 5, 6]
