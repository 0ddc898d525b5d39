import hashlib

import pytest
import torch

from tests.directions.screening.made_features import made, seeded
from torchserve_fire_build.common import row_file
from torchserve_fire_build.common.progress import Progress
from torchserve_fire_build.screening import compare_groups as compare
from torchserve_fire_build.screening.chances import find_chances
from torchserve_fire_build.screening.compare_groups import compare_groups
from torchserve_fire_build.screening.feature_file import FeatureFile
from torchserve_fire_build.screening.features import Features, join_features

ROW_BYTES = 2 * 6 * 4
"""Two layers of six channels."""


def digest(i):
    return hashlib.sha256(bytes([i])).hexdigest()


def written(features, order=(0, 1)):
    """The same in a file, written in two parts."""
    half = len(features) // 2
    named = Features(features.layers, features.predicted, [digest(i) for i in range(len(features))])
    parts = [(0, torch.arange(half)), (half, torch.arange(half, len(features)))]
    with Progress("writing", len(features)) as progress:
        return FeatureFile.written(((parts[i][0], named.at(parts[i][1])) for i in order), progress)


def is_same(one, other):
    return torch.equal(one.predicted, other.predicted) and all(
        torch.equal(one.layers[layer], other.layers[layer]) for layer in one.layers
    )


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_they_come_back_as_they_were_in_blocks_of_any_size(monkeypatch, rows, order):
    monkeypatch.setattr(row_file, "BLOCK_BYTES", rows * ROW_BYTES)
    features = made([0, 1, 2] * 10, seeded(0))
    file = written(features, order)
    assert len(file) == 30
    assert file.layers == ["layer0", "layer1"]
    assert is_same(file.at(torch.tensor([2, 5, 29])), features.at(torch.tensor([2, 5, 29])))
    indices, blocks = zip(*file.blocks(), strict=True)
    assert torch.cat(indices).tolist() == list(range(30))
    assert is_same(join_features(blocks), features)
    # Without some of them, the others are numbered anew.
    left = torch.tensor([0, 3, 4, 8, 28])
    fewer = file.only(left)
    assert fewer.digests == [digest(i) for i in left.tolist()]
    assert is_same(join_features([block for _, block in fewer.blocks()]), features.at(left))
    assert is_same(fewer.at(torch.tensor([1, 4])), features.at(torch.tensor([3, 28])))
    assert fewer.at(torch.tensor([1, 4])).digests == [digest(3), digest(28)]


def test_pictures_in_a_file_are_judged_as_those_in_memory(monkeypatch):
    monkeypatch.setattr(row_file, "BLOCK_BYTES", 7 * ROW_BYTES)
    generator = seeded(0)
    clean = made([0, 1, 2] * 20, generator)
    # Of the last class there are no clean samples.
    pictures = made([0, 1, 3, 2, 1] * 10, generator, shift=3.0)
    in_memory, in_file = (find_chances(clean, of) for of in (pictures, written(pictures)))
    assert torch.equal(in_memory.judged, in_file.judged)
    assert int(in_file.judged.sum()) == 40
    # A product of matrices may round otherwise in blocks of other sizes.
    torch.testing.assert_close(in_memory.distances, in_file.distances)
    assert torch.equal(in_memory.chances, in_file.chances)
    assert torch.equal(in_memory.farthest, in_file.farthest)
    for one, other in zip(
        compare_groups(clean, pictures), compare_groups(clean, written(pictures)), strict=True
    ):
        assert one.p == other.p
        assert torch.equal(one.samples, other.samples)
        assert torch.equal(one.by_layer, other.by_layer)


@pytest.mark.parametrize("most", [{"MOST": 15}, {"ALL": 45}])
def test_of_many_pictures_some_of_each_class_are_compared(monkeypatch, most):
    for name, value in most.items():
        monkeypatch.setattr(compare, name, value)
    generator = seeded(0)
    clean = made([0, 1, 2] * 20, generator)
    pictures = made([0] * 40 + [1] * 40 + [2] * 40, generator)
    for features in pictures.layers.values():
        features[40:80, -1] += 3
    groups = compare_groups(clean, written(pictures))
    assert [len(group.samples) for group in groups] == [15, 15, 15]
    for group in groups:
        (called,) = group.classes
        assert set(pictures.predicted[group.samples].tolist()) == {called}
    assert compare.holm(groups) == [group.classes == (1,) for group in groups]
