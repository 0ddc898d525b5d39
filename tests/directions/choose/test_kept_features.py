import torch

from torchserve_fire_build.choose.kept_features import KeptFeatures
from torchserve_fire_build.samples.both import Both

WHICH = Both(torch.tensor([True, False, True, True]), torch.tensor([False, True]))
SHAPES = {"relu": (2,)}
BYTES = 4 * 2 * 4
"""Of the four samples in `WHICH` at a layer of two features."""


def features(rows):
    """Features (i, -i) of the i-th sample."""
    return torch.stack([rows.float(), -rows.float()], 1)


def add(kept, layer, clean=((3, 0), (1, 2)), triggered=((1, 0),)):
    """Take in batches of samples in any order."""
    for is_clean, batches in ((True, clean), (False, triggered)):
        for batch in batches:
            rows = torch.tensor(batch)
            kept.add(layer, rows, features(rows), clean=is_clean)


def test_features_of_the_samples_to_try_are_kept_in_their_order():
    kept = KeptFeatures(WHICH, SHAPES)
    add(kept, "relu")
    assert set(kept.features) == {"relu"}
    assert kept.features["relu"].clean.tolist() == [[0, 0], [2, -2], [3, -3]]
    assert kept.features["relu"].triggered.tolist() == [[1, -1]]


def test_later_changes_of_the_features_do_not_change_the_kept_ones():
    kept, rows = KeptFeatures(WHICH, SHAPES), torch.arange(4)
    given = features(rows)
    kept.add("relu", rows, given, clean=True)
    given.fill_(9)
    assert kept.features["relu"].clean.tolist() == [[0, 0], [2, -2], [3, -3]]


def test_a_layer_for_which_there_is_no_room_is_left_out_and_the_last_come_first():
    for limit, expected in ((2 * BYTES + 1, {"second", "relu"}), (BYTES, {"relu"}), (0, set())):
        kept = KeptFeatures(WHICH, {"first": (2,), "second": (2,), "relu": (2,)}, limit)
        for layer in ("first", "second", "relu"):
            add(kept, layer)
        assert set(kept.features) == expected


def test_a_smaller_layer_may_fit_where_a_larger_one_does_not():
    kept = KeptFeatures(WHICH, {"small": (2,), "large": (100,)}, limit=BYTES)
    add(kept, "small")
    kept.add("large", torch.arange(4), torch.zeros(4, 100), clean=True)
    assert set(kept.features) == {"small"}


def test_half_precision_is_kept():
    kept, rows = KeptFeatures(WHICH, SHAPES), torch.arange(4)
    kept.add("relu", rows, features(rows).half(), clean=True)
    assert kept.features["relu"].clean.dtype == torch.float16


def test_there_may_be_no_samples_of_a_kind_to_try():
    kept = KeptFeatures(Both(torch.zeros(4, dtype=torch.bool), torch.tensor([True, True])), SHAPES)
    add(kept, "relu")
    assert kept.features["relu"].clean.shape == (0, 2)
    assert kept.features["relu"].triggered.tolist() == [[0, 0], [1, -1]]
