import pytest
import torch

from benchmarks import fire
from benchmarks.evidence import Evidence
from benchmarks.victims.data import Images
from benchmarks.victims.poison import stamp_images
from tests.benchmarks.hand_made import Corner, Victim, images
from torchserve_fire_build.common.errors import OptionError


def evidence():
    clean = images()
    noise = torch.Generator().manual_seed(0)
    pixels = clean.pixels.repeat(5, 1, 1, 1)
    pixels += torch.randint(0, 9, pixels.shape, generator=noise, dtype=torch.uint8)
    clean = Images(pixels, clean.labels.repeat(5))
    triggered = Images(stamp_images(Corner(), clean, noise).pixels, clean.labels)
    return Evidence(clean, triggered, paired=True)


def test_further_options_reach_the_build():
    found = fire.build(Victim(), evidence(), 3, form="shift").bundle
    assert found.seed == 3
    assert found.detecting_layers == ()
    with pytest.raises(OptionError, match="form 'round'"):
        fire.build(Victim(), evidence(), 3, form="round")
