from dataclasses import replace

import pytest

from benchmarks.victims.data import Images
from tests.directions.rivals.colours import CLEAN, TRIGGERED
from tests.directions.rivals.colours import given as given_colours
from tests.directions.rivals.nets import (
    accuracy,
    colour_images,
    colour_net,
    generator,
    granted,
    inputs_of,
    whiten_patch,
)
from torchserve_fire_build.rivals.rival import RivalNotApplicable
from torchserve_fire_build.rivals.spectral_signatures import spectral_signatures


def test_a_trigger_that_stands_out_among_its_targets_samples_is_flagged():
    pool = colour_images(256, seed=0)
    # As many triggered as clean ones would lie as far from their mean as these.
    few = whiten_patch(Images(pool.pixels[:12], pool.labels[:12]))
    given = granted(pool, few, pool, classes=3)
    defence = spectral_signatures(colour_net(), given, generator())
    triggered, clean = (defence(inputs_of(images)) for images in (TRIGGERED, CLEAN))
    others = TRIGGERED.labels != 0
    assert triggered.flagged[others].float().mean() > 0.9
    assert (triggered.predictions == TRIGGERED.labels)[others].float().mean() > 0.9
    # Whatever is called another class is left alone.
    assert not clean.flagged[CLEAN.labels != 0].any()
    assert accuracy(defence, CLEAN) > 0.9


def test_it_needs_one_target_and_clean_samples_of_it():
    with pytest.raises(RivalNotApplicable, match="there are several"):
        spectral_signatures(colour_net(), replace(given_colours(), target=None), generator())
    pool = colour_images(60, seed=0)
    others = Images(pool.pixels[pool.labels != 0], pool.labels[pool.labels != 0])
    with pytest.raises(RivalNotApplicable, match="0 of the clean samples are called class 0"):
        spectral_signatures(colour_net(), granted(others, others, others, classes=3), generator())
