import pytest
import torch

from torchserve_fire_build.estimate.channels import channel_means, channels_of_places, spread_over


def test_by_hand():
    maps = torch.arange(8.0).view(1, 2, 2, 2)
    assert channel_means(maps).tolist() == [[1.5, 5.5]]
    tokens = torch.arange(6.0).view(1, 3, 2)
    assert channel_means(tokens).tolist() == [[2, 3]]
    vectors = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert torch.equal(channel_means(vectors), vectors)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (4, 2, 3), (2, 1, 2, 1)])
def test_a_sum_over_features_is_that_over_their_channel_means(shape):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, *shape, generator=generator)
    means = channel_means(features)
    weight = torch.randn(means.shape[1], generator=generator)
    spread = spread_over(weight, shape)
    assert spread.dim() == len(shape)
    per_channel = features[0].numel() / means.shape[1]
    torch.testing.assert_close(
        (features * spread).flatten(1).sum(1), per_channel * (means @ weight)
    )


def test_the_channels_at_each_place():
    maps = torch.arange(8.0).view(1, 2, 2, 2)
    assert channels_of_places(maps, 9).tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    tokens = torch.arange(12.0).view(2, 3, 2)
    assert torch.equal(channels_of_places(tokens, 9), tokens.flatten(0, 1))


def test_of_many_places_those_taken_are_from_all_columns():
    column = torch.arange(32.0).expand(1, 1, 32, 32)
    taken = channels_of_places(column, 64)
    assert 32 < len(taken) <= 64
    assert len(taken.unique()) == 32
