import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_fire_build.estimate.covariance import Covariance


def covariance_of(values):
    covariance = Covariance()
    covariance.add(values)
    return covariance


def assert_same(covariance, values):
    assert covariance.count == len(values)
    torch.testing.assert_close(covariance.mean, values.mean(0), rtol=0, atol=1e-5)
    expected = torch.cov(values.double().T, correction=0) * len(values)
    torch.testing.assert_close(covariance.scatter, expected.float(), rtol=1e-4, atol=1e-3)


def test_a_covariance_by_hand():
    covariance = covariance_of(torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, -1.0]]))
    assert covariance.mean.tolist() == [2, 1]
    assert covariance.scatter.tolist() == [[8, -4], [-4, 8]]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(lambda s: sum(s) > 1),
    seed=st.integers(0, 9999),
)
def test_the_covariance_is_torchs_however_samples_are_batched_and_merged(sizes, seed):
    values = torch.randn(sum(sizes), 4, generator=torch.Generator().manual_seed(seed)) + 2
    batched = Covariance()
    for part in values.split(sizes):
        batched.add(part)
    assert_same(batched, values)
    assert_same(Covariance.merged(covariance_of(part) for part in values.split(sizes)), values)


def test_a_covariance_with_partners_by_hand():
    covariance = Covariance()
    covariance.add(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([[5.0], [1.0]]))
    covariance.add(torch.tensor([[4.0, -1.0]]), torch.tensor([[0.0]]))
    assert covariance.mean.tolist() == [2, 1]
    assert covariance.partner_mean.tolist() == [2]
    # (-2, 0) * 3 + (0, 2) * -1 + (2, -2) * -2
    torch.testing.assert_close(covariance.scatter, torch.tensor([[-10.0], [2.0]]))


def test_no_vectors_change_nothing():
    empty = Covariance()
    empty.add(torch.zeros(0, 3))
    assert empty.count == 0
    assert Covariance.merged([]).count == 0
    one = covariance_of(torch.tensor([[1.0, 2.0]]))
    assert Covariance.merged([empty, one]).scatter.tolist() == [[0, 0], [0, 0]]
