from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.same_bundles import compare_bundles, relative_difference
from torchserve_fire.format.bundle_file import load_bundle, save_bundle

OLD = Path(__file__).parents[1] / "handler" / "format" / "data" / "version_2.safetensors"


@pytest.fixture
def saved(tmp_path):
    """Saves a bundle of today, and compares it with the one that older code wrote."""

    def compare(bundle):
        save_bundle(bundle, tmp_path / "new.safetensors")
        return compare_bundles(OLD, tmp_path / "new.safetensors")

    return compare


def old_bundle():
    """What the file holds; what it holds in half precision is read in single precision."""
    bundle = load_bundle(OLD)
    layers = list(bundle.layers)
    half = layers[1].correction.direction.half()
    layers[1] = replace(layers[1], correction=replace(layers[1].correction, direction=half))
    return replace(bundle, layers=tuple(layers))


def changed(bundle, part, **values):
    """The bundle with something else in its first layer that has such a part."""
    layers = list(bundle.layers)
    i = next(i for i, layer in enumerate(layers) if getattr(layer, part) is not None)
    layers[i] = replace(layers[i], **{part: replace(getattr(layers[i], part), **values)})
    return replace(bundle, layers=tuple(layers))


def test_an_older_file_and_the_same_bundle_in_todays_words(saved):
    row = saved(old_bundle())
    assert row["same_choice"]
    assert row["changed"] == {}
    assert row["largest_difference"] == row["held_out_difference"] == 0


def test_another_strength_is_another_choice(saved):
    row = saved(changed(old_bundle(), "correction", strength=0.125))
    assert not row["same_choice"]
    assert any(path.endswith("strength") for path in row["changed"])


def test_another_threshold_is_a_difference_of_the_same_choice(saved):
    bundle = old_bundle()
    threshold = next(layer.detection for layer in bundle.layers if layer.detection).threshold
    row = saved(changed(bundle, "detection", threshold=threshold * 1.001 + 0.001))
    assert row["same_choice"]
    assert 0 < row["largest_difference"] < 0.1


def test_a_difference_is_relative_to_the_largest_value():
    assert relative_difference(np.array([4.0, 0.0]), np.array([4.0, 1.0])) == 0.25
    assert relative_difference(np.zeros(2), np.zeros(2)) == 0
    assert relative_difference(np.empty(0), np.empty(0)) == 0
