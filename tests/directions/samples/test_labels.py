import pytest
import torch

from tests.directions.backdoored import TENSOR, labels_of, tensor_sets
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.labels import require_labels
from torchserve_fire_build.samples.open_samples import open_samples


def opened(folder, **options):
    sets = tensor_sets(folder, "vector", **options)
    return [open_samples(path, TENSOR) for path in (sets.clean, sets.triggered)]


def test_each_group_has_its_labels(tmp_path):
    labels = require_labels(opened(tmp_path, paired=False), 4, None)
    assert torch.equal(torch.stack(labels), torch.stack([labels_of(40), labels_of(40).flip(0)]))


def test_samples_without_labels_are_refused(tmp_path):
    with pytest.raises(SamplesError, match=r"clean\.npz: expected labels"):
        require_labels(opened(tmp_path, labelled=False), 4, None)
