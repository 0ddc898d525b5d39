from dataclasses import replace

import pytest
import torch

from tests.directions.estimate.test_warp import patched, smooth
from torchserve_fire.format.bundle import INPUT_LAYER, Detection, Layer
from torchserve_fire.format.correction_forms import Shift, Warp
from torchserve_fire_build.choose.options import Option
from torchserve_fire_build.choose.warp_option import MIN_SAMPLES, warp_option
from torchserve_fire_build.samples.evidence import Evidence
from torchserve_fire_build.samples.folds import FOLDS
from torchserve_fire_build.samples.tensor_samples import TensorSamples

COUNT = 40
FOLD = torch.arange(COUNT) % FOLDS


def layers(threshold):
    weight = torch.ones(4)
    return (
        Layer("first", (4,), correction=Shift(weight, 1.0)),
        Layer("second", (4,), Detection(weight, threshold), Shift(weight, 1.0)),
    )


FEATURES = Option(
    ["detects: second (whitened)", "repairs: first (mean_difference, strength 1)"],
    layers(0.0),
    [layers(1.0 + fold) for fold in range(FOLDS)],
)


def option(triggered, features=FEATURES, use=None):
    evidence = Evidence(TensorSamples(smooth(COUNT)), TensorSamples(triggered), range(COUNT))
    everything = torch.ones(COUNT, dtype=torch.bool)
    return warp_option(features, evidence, everything if use is None else use, FOLD)


def test_the_input_is_repaired_where_features_detect():
    found = option(smooth(COUNT).flip(3))
    assert found.description == ["detects: second (whitened)", "repairs: the model's input (warp)"]
    for made, given in zip(
        [found.layers, *found.of_folds], [FEATURES.layers, *FEATURES.of_folds], strict=True
    ):
        detects, repairs = made
        assert detects == replace(given[1], correction=None)
        assert (repairs.name, repairs.role) == (INPUT_LAYER, "repairs")
        assert repairs.feature_shape == (3, 16, 16)
        assert isinstance(repairs.correction, Warp)


def test_each_fold_is_estimated_without_its_samples():
    # All are mirrored, and those of the first fold are moved, too.
    triggered = smooth(COUNT).flip(3)
    triggered[FOLD == 0] = triggered[FOLD == 0].roll(1, 3)
    found = option(triggered)
    first = found.of_folds[0][1].correction.moves
    expected = (15 - 2 * torch.arange(16.0)).expand(16, 16)
    torch.testing.assert_close(first[1, 4:12, 4:12], expected[4:12, 4:12], atol=0.2, rtol=0)
    moves = {tuple(each[1].correction.moves.flatten().tolist()) for each in found.of_folds}
    assert len(moves) == FOLDS


def test_samples_on_which_the_trigger_does_not_work_do_not_count():
    triggered = smooth(COUNT)
    half = torch.arange(COUNT) < COUNT // 2
    triggered[half] = triggered[half].flip(3)
    assert option(triggered, use=half) is not None
    assert option(triggered, use=~half) is None


def test_of_large_inputs_few_are_taken(monkeypatch):
    taken = []

    class Watched(TensorSamples):
        def load(self, indices):
            taken.append(len(indices))
            return super().load(indices)

    monkeypatch.setattr("torchserve_fire_build.choose.warp_option.MAX_NUMBERS", 100)
    triggered = Watched(smooth(COUNT).flip(3))
    evidence = Evidence(TensorSamples(smooth(COUNT)), triggered, range(COUNT))
    assert warp_option(FEATURES, evidence, torch.ones(COUNT, dtype=torch.bool), FOLD) is not None
    assert set(taken) == {MIN_SAMPLES}


@pytest.mark.parametrize("features", [FEATURES, replace(FEATURES, layers=layers(0.0)[:1])])
def test_where_nothing_is_moved_or_detected_there_is_none(features):
    triggered = patched(smooth(COUNT)) if features is FEATURES else smooth(COUNT).flip(3)
    assert option(triggered, features) is None
