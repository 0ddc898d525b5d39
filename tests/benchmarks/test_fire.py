from dataclasses import replace

import pytest
import torch

from benchmarks import fire
from benchmarks.evidence import Evidence
from benchmarks.victims.data import Images
from benchmarks.victims.poison import stamp_images
from tests.benchmarks.hand_made import Corner, Victim, bundle, images
from torchserve_fire_build.common.errors import OptionError


def evidence():
    clean = images()
    noise = torch.Generator().manual_seed(0)
    pixels = clean.pixels.repeat(5, 1, 1, 1)
    pixels += torch.randint(0, 9, pixels.shape, generator=noise, dtype=torch.uint8)
    clean = Images(pixels, clean.labels.repeat(5))
    triggered = Images(stamp_images(Corner(), clean, noise).pixels, clean.labels)
    return Evidence(clean, triggered, paired=True)


def test_a_bundle_with_several_repairs_is_described_by_the_one_for_the_trigger_as_it_is():
    features = bundle(only_target=True).layers[0]
    other = replace(features, name="net.other", repair=1)
    built = {"repairs": ["altered", "features"], "detector": "whitened", "estimator": "shrunken"}
    both = replace(bundle(), layers=(replace(other, repair=0), replace(features, repair=1)))
    found = fire.describe(replace(both, evidence=built))
    assert found["kinds"] == ["altered", "features"]
    assert (found["target"], found["detects"]) == (0, "net.features")
    assert found["repairs"] == ["net.features"]


def test_a_bundle_for_several_targets_is_described_target_by_target():
    features = bundle(only_target=True).layers[0]
    layers = [replace(features, target=2), replace(features, target=1)]
    layers.append(replace(features, name="net.other", target=1, repair=1))
    of_each = {"detector": "whitened", "estimator": "shrunken"}
    evidence = {
        "targets": {
            "2": {**of_each, "repairs": ["features"]},
            "1": {**of_each, "repairs": ["features", "altered"]},
        }
    }
    both = replace(bundle(), target=2, layers=tuple(layers), evidence=evidence)
    found = fire.describe(both)["targets"]
    assert list(found) == ["2", "1"]
    assert found["1"]["kinds"] == ["features", "altered"]
    assert found["1"]["repairs"] == ["net.features"]


def test_further_options_reach_the_build():
    found = fire.build(Victim(), evidence(), 3, form="shift").bundle
    assert found.seed == 3
    assert found.detecting_layers == ()
    with pytest.raises(OptionError, match="form 'round'"):
        fire.build(Victim(), evidence(), 3, form="round")
