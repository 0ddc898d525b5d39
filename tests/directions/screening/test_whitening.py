import pytest
import torch

from torchserve_fire_build.screening.whitening import Whitening, class_means


def test_what_it_was_fitted_on_varies_alike_in_every_direction():
    mix = torch.tensor([[3.0, 0, 0], [2, 0.5, 0], [0, 0, 0.1]])
    deviations = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) @ mix.T
    white = Whitening.fit(deviations).apply(deviations)
    torch.testing.assert_close(white.T @ white / 4000, torch.eye(3), atol=0.1, rtol=0)


def test_fewer_samples_than_channels():
    deviations = torch.randn(10, 50, generator=torch.Generator().manual_seed(0))
    whitening = Whitening.fit(deviations)
    assert whitening.directions.shape == (50, 10)
    # By shrinkage, no direction that the samples leave out is stretched without bound.
    fresh = torch.randn(200, 50, generator=torch.Generator().manual_seed(1))
    assert float(whitening.apply(fresh).norm(dim=1).mean()) == pytest.approx(50**0.5, rel=0.3)


def test_a_channel_that_is_always_the_same_decides_nothing():
    deviations = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    deviations[:, 2] = 0
    moved = Whitening.fit(deviations).apply(torch.tensor([[0.0, 0, 1e-6]]))
    assert float(moved.norm()) < 1e-3


def test_what_never_varies_cannot_be_whitened():
    assert Whitening.fit(torch.zeros(5, 3)) is None


def test_the_means_of_classes():
    features = torch.tensor([[1.0, 0], [4, 4], [3, 2]])
    known, means = class_means(features, torch.tensor([7, 2, 7]))
    assert known.tolist() == [2, 7]
    assert means.tolist() == [[4, 4], [2, 1]]
