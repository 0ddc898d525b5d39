import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_fire_build.estimate.moments import Moments


def moments_of(values, sizes=()):
    moments = Moments()
    for part in values.split(list(sizes)) if sizes else [values]:
        moments.add(part)
    return moments


def assert_same(moments, values):
    assert moments.count == len(values)
    size = float(values.abs().max())
    mean, variance = values.double().mean(0).float(), values.double().var(0).float()
    torch.testing.assert_close(moments.mean, mean, rtol=0, atol=1e-6 * size)
    torch.testing.assert_close(moments.variance, variance, rtol=1e-5, atol=1e-6 * size**2)


def test_by_hand():
    moments = moments_of(torch.tensor([[1.0, 0.0], [2.0, 0.0], [6.0, 0.0]]))
    assert moments.count == 3
    assert moments.mean.tolist() == [3, 0]
    assert moments.variance.tolist() == [7, 0]


@st.composite
def split(draw):
    sizes = draw(st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(lambda s: sum(s) > 1))
    shape = draw(st.sampled_from([(3,), (2, 4), (2, 3, 3)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9999)))
    scale = draw(st.sampled_from([1e-3, 1.0, 1e3]))
    return scale * torch.randn(sum(sizes), *shape, generator=generator), sizes


@settings(max_examples=60, deadline=None)
@given(split())
def test_the_moments_are_torchs_however_samples_are_batched(case):
    values, sizes = case
    assert_same(moments_of(values, sizes), values)


@settings(max_examples=60, deadline=None)
@given(split())
def test_the_moments_are_torchs_however_parts_are_merged(case):
    values, sizes = case
    parts = [moments_of(part) for part in values.split(sizes)]
    assert_same(Moments.merged(parts), values)
    assert_same(Moments.merged(reversed(parts)), values)
    assert_same(Moments.merged([Moments.merged(parts[:2]), *parts[2:]]), values)


def test_merging_does_not_change_the_parts():
    first, second = moments_of(torch.ones(3, 2)), moments_of(torch.zeros(2, 2))
    Moments.merged([first, second])
    assert first.count == 3
    assert first.mean.tolist() == [1, 1]
    assert first.variance.tolist() == [0, 0]


def test_a_large_mean_does_not_drown_the_variance():
    # A sum of squares in float32 would be wrong by thousands here.
    values = 1e4 + torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    expected = values.double().var(0).float()
    torch.testing.assert_close(
        moments_of(values, [7] * 71 + [3]).variance, expected, rtol=0.01, atol=0
    )


def test_none_and_one_sample():
    nothing = Moments()
    assert nothing.count == 0
    assert nothing.mean.item() == nothing.variance.item() == 0
    nothing.add(torch.zeros(0, 3))
    assert nothing.count == 0
    one = moments_of(torch.tensor([[2.0, 5.0]]))
    assert one.mean.tolist() == [2, 5]
    assert one.variance.tolist() == [0, 0]
    assert Moments.merged([nothing, one, Moments()]).mean.tolist() == [2, 5]
    assert Moments.merged([]).count == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_dtype_gives_float32(dtype):
    moments = moments_of(torch.tensor([[1.0], [3.0]], dtype=dtype))
    assert moments.mean.dtype == moments.variance.dtype == torch.float32
    assert moments.variance.tolist() == [2]


def test_the_samples_are_neither_kept_nor_changed():
    batch = torch.tensor([[1.0], [3.0]])
    moments = moments_of(batch)
    assert batch.tolist() == [[1], [3]]
    batch.fill_(9)
    assert moments.mean.tolist() == [2]
    held = [v for v in vars(moments).values() if isinstance(v, torch.Tensor)]
    assert all(v.shape == (1,) for v in held)
