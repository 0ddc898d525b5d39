import numpy as np
import pytest
import torch

from tests.directions.pool import pools
from torchserve_fire.errors import FireError
from torchserve_fire_build.common.row_file import RowFile
from torchserve_fire_build.common.workers import ThisProcess
from torchserve_fire_build.pool import groups_of_classes
from torchserve_fire_build.pool.class_groups import find_class_groups
from torchserve_fire_build.pool.groups_of_classes import Scoring, find_groups_of_classes
from torchserve_fire_build.pool.last_layer import LastLayer
from torchserve_fire_build.pool.methods import POOL_METHODS

SPECTRAL = Scoring("spectral-signatures", 10, 0)


class Watching:
    """Workers that note what they were given, and how much of it at once."""

    def __init__(self):
        self.sizes = []

    def map(self, function, items):
        for place, item in enumerate(items):
            self.sizes.append(len(item.features))
            yield place, function(item)


def last_layer(features, predicted, classes=3):
    file = RowFile()
    file.write(0, torch.from_numpy(features))
    return LastLayer(file, torch.nn.functional.one_hot(predicted, classes).float())


@pytest.fixture
def mixed():
    """Two groups of class 2, and one of class 0, in turns; of class 1 there is nothing."""
    features, moved = pools.two_blobs(60, 60)
    others = pools.blob(30, features.shape[1], 1)
    features = np.concatenate([features, others]).astype(np.float32)
    predicted = torch.tensor([2] * 120 + [0] * 30)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    return features[order.numpy()], predicted[order], np.concatenate([moved, np.zeros(30)])[order]


def test_each_class_is_compared_by_itself_in_the_order_of_its_samples(mixed):
    features, predicted, moved = mixed
    watching = Watching()
    found = find_groups_of_classes(last_layer(features, predicted), None, SPECTRAL, watching)
    # The largest comes first, and the answer is in the order of the classes.
    assert watching.sizes == [120, 30]
    assert list(found) == [0, 2]
    own = features[(predicted == 2).numpy()].astype(np.float64)
    alone = find_class_groups(own, None, POOL_METHODS["spectral-signatures"], 0)
    assert np.array_equal(found[2].scores, alone.scores)
    upper, truth = found[2].groups.upper, moved[(predicted == 2).numpy()].astype(bool)
    assert np.array_equal(upper, truth) or np.array_equal(upper, ~truth)


def test_clean_samples_go_with_those_of_their_class(mixed, monkeypatch):
    features, predicted, _ = mixed
    seen = []
    monkeypatch.setattr(
        groups_of_classes, "find_class_groups", lambda own, clean, *_: seen.append(clean)
    )
    clean = last_layer(np.arange(6, dtype=np.float32).reshape(3, 2), torch.tensor([2, 1, 2]))
    find_groups_of_classes(last_layer(features, predicted), clean, SPECTRAL, ThisProcess())
    assert [each.tolist() for each in seen] == [[[0, 1], [4, 5]], []]


def test_what_goes_wrong_elsewhere_is_told(mixed, monkeypatch):
    def fail(*_):
        raise FireError("no such luck")

    monkeypatch.setattr(groups_of_classes, "find_class_groups", fail)
    features, predicted, _ = mixed
    with pytest.raises(FireError, match="no such luck"):
        find_groups_of_classes(last_layer(features, predicted), None, SPECTRAL, ThisProcess())
