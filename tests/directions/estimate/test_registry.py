from dataclasses import replace

import pytest
import torch

from torchserve_fire.repair.corrections import build_correction
from torchserve_fire_build.estimate.channels import channels_of_places
from torchserve_fire_build.estimate.layer_statistics import MAX_PLACES, LayerStatistics
from torchserve_fire_build.estimate.registry import REPAIRS


def statistics_of(clean, triggered):
    statistics = LayerStatistics()
    statistics.clean.add(clean)
    statistics.triggered.add(triggered)
    if clean.dim() == 4:
        statistics.clean_places.add(channels_of_places(clean, MAX_PLACES))
        statistics.triggered_places.add(channels_of_places(triggered, MAX_PLACES))
    return statistics


# Not that for few classes, whose target has clean samples of its own.
@pytest.mark.parametrize("name", [name for name in REPAIRS if name != "from_others"])
def test_a_repair_brings_triggered_features_nearer_to_clean_ones(name):
    clean = torch.randn(50, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    triggered = clean.clone()
    triggered[:, 1] += 8
    correction = REPAIRS[name](statistics_of(clean, triggered))
    assert correction is not None
    assert correction.strength == 1.0
    halfway = build_correction(replace(correction, strength=0.5))(triggered)
    moved = build_correction(correction)(triggered)
    assert float((moved - clean).norm()) < 0.5 * float((triggered - clean).norm())
    torch.testing.assert_close(halfway, (triggered + moved) / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", REPAIRS)
def test_without_a_difference_there_is_no_repair(name):
    clean = torch.randn(50, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert REPAIRS[name](statistics_of(clean, clean)) is None
