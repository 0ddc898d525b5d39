import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.directions.backdoored import TENSOR, tensor_sets
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.evidence import Evidence, gather_evidence
from torchserve_fire_build.samples.folds import FOLDS, MIN_SAMPLES, assign_folds
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.tensor_samples import TensorSamples


def samples(count):
    return TensorSamples(torch.zeros(count, 1), source=f"{count}.npz")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(clean=st.integers(8, 60), triggered=st.integers(8, 60), seed=st.integers(0, 1000))
def test_every_sample_is_in_one_fold_and_the_folds_are_even(clean, triggered, seed):
    folds = assign_folds(Evidence(samples(clean), samples(triggered), []), generator(seed))
    for part, count in ((folds.clean, clean), (folds.triggered, triggered)):
        assert part.shape == (count,)
        sizes = torch.bincount(part, minlength=FOLDS)
        assert len(sizes) == FOLDS
        assert int(sizes.max() - sizes.min()) <= 1


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_pair_is_in_one_fold(data):
    clean = data.draw(st.integers(8, 60))
    partners = data.draw(st.permutations(range(clean)))[: data.draw(st.integers(8, clean))]
    evidence = Evidence(samples(clean), samples(len(partners)), partners)
    folds = assign_folds(evidence, generator(data.draw(st.integers(0, 1000))))
    assert torch.equal(folds.clean[list(partners)], folds.triggered)
    sizes = torch.bincount(folds.triggered, minlength=FOLDS)
    assert int(sizes.max() - sizes.min()) <= 1
    assert set(folds.clean.tolist()) <= set(range(FOLDS))


def test_the_seed_decides():
    evidence = Evidence(samples(40), samples(40), [])
    first, again, other = (assign_folds(evidence, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.clean, again.clean)
    assert torch.equal(first.triggered, again.triggered)
    assert not torch.equal(first.clean, other.clean)


def test_rows_of_files_stay_together(tmp_path):
    sets = tensor_sets(tmp_path, "vector")
    evidence = gather_evidence(*(open_samples(p, TENSOR) for p in (sets.clean, sets.triggered)))
    folds = assign_folds(evidence, generator())
    assert torch.equal(folds.clean, folds.triggered)


@pytest.mark.parametrize(("clean", "triggered", "named"), [(3, 5, "3 clean"), (5, 3, "3 trigg")])
def test_too_few_samples_are_refused(clean, triggered, named):
    with pytest.raises(SamplesError) as caught:
        assign_folds(Evidence(samples(clean), samples(triggered), []), generator())
    assert named in str(caught.value)
    assert str(MIN_SAMPLES) in str(caught.value)
    assert "3.npz" in str(caught.value)


def test_the_samples_of_each_trigger_are_spread_evenly():
    evidence = Evidence(samples(20), samples(20), list(range(20)))
    first = torch.arange(20) < 5
    folds = assign_folds(evidence, generator(3), [first, ~first])
    assert sorted(torch.bincount(folds.triggered[first], minlength=FOLDS).tolist()) == [1, 1, 1, 2]
    assert max(torch.bincount(folds.triggered[~first]).tolist()) == 4
    assert torch.equal(folds.clean, folds.triggered)
    alone = assign_folds(evidence, generator(3))
    assert not torch.equal(alone.triggered, folds.triggered)
