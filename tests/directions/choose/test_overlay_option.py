import pytest
import torch

from tests.directions.choose.prepared import group_of
from torchserve_fire.format.bundle import INPUT_LAYER
from torchserve_fire_build.choose import overlay_option as module
from torchserve_fire_build.choose.held_out import HeldOut
from torchserve_fire_build.choose.overlay_option import overlay_option
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.evidence import Evidence
from torchserve_fire_build.samples.folds import FOLDS
from torchserve_fire_build.samples.tensor_samples import TensorSamples

COUNT = 40
FOLD = torch.arange(COUNT) % FOLDS


def maps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.2 * torch.rand(COUNT, 1, 8, 8, generator=generator)


def stamp(inputs, row=0, column=0):
    inputs = inputs.clone()
    inputs[:, :, row, column] = 1
    return inputs


def group(inputs):
    return group_of(inputs, FOLD.tolist(), torch.zeros(len(inputs), 2))


def option(triggered, altered, *, use=None, only_target=True, paired=True):
    partners = range(COUNT) if paired else []
    evidence = Evidence(TensorSamples(maps()), TensorSamples(triggered), partners)
    everything = torch.ones(COUNT, dtype=torch.bool)
    return overlay_option(
        evidence,
        Both(everything, everything if use is None else use),
        Both(FOLD, FOLD),
        HeldOut(group(maps()), group(triggered)),
        HeldOut(group(maps()), group(altered)),
        only_target=only_target,
    )


@pytest.mark.parametrize("only_target", [True, False])
def test_the_input_is_repaired_with_what_all_samples_show(only_target):
    found = option(stamp(maps()), stamp(maps(), 5, 3), only_target=only_target)
    assert found.description == ["detects and repairs: the model's input (overlay)"]
    (layer,) = found.layers
    assert (layer.name, layer.feature_shape) == (INPUT_LAYER, (1, 8, 8))
    assert layer.detection.only_target == only_target
    assert layer.detection.anywhere
    # White on white is cut off: at the trigger's place alone, the whole range is added.
    changed = layer.correction.direction.abs() > 0.1
    assert changed.nonzero().tolist() == [[0, 0, 0]]
    assert layer.detection.clean_scores.count == COUNT


def test_each_fold_has_an_estimate_of_its_own_and_all_have_one_threshold():
    found = option(stamp(maps()), stamp(maps(), 5, 3))
    assert len(found.of_folds) == FOLDS
    estimates = [*found.of_folds, found.layers]
    weights = {tuple(layer.detection.weight.flatten().tolist()) for (layer,) in estimates}
    assert len(weights) == FOLDS + 1
    thresholds = [layer.detection.threshold - layer.correction.base for (layer,) in estimates]
    assert thresholds == pytest.approx([thresholds[0]] * (FOLDS + 1))
    # It lies between clean samples, 0, and triggered ones, 1.
    assert 0.2 < thresholds[0] < 0.9


def test_the_threshold_is_low_enough_for_altered_copies_too():
    triggered = stamp(maps())
    weaker = (maps() + triggered) / 2
    plain, both = (option(triggered, altered).layers[0] for altered in (triggered, weaker))
    assert both.detection.threshold < plain.detection.threshold
    base = both.correction.base
    assert 0.1 < both.detection.threshold - base < 0.5


def test_it_is_estimated_from_the_samples_on_which_the_trigger_works():
    # On half of them, something else is put in, which leads nowhere.
    use = torch.arange(COUNT) < COUNT // 2
    triggered = stamp(maps())
    triggered[~use] = stamp(maps(), 6, 6)[~use]
    (layer,) = option(triggered, triggered, use=use).layers
    changed = layer.correction.direction.abs() > 0.1
    assert changed.nonzero().tolist() == [[0, 0, 0]]


def test_no_more_samples_are_used_than_are_needed(monkeypatch):
    seen = []
    estimate = module.estimate_overlay

    def count(clean, triggered):
        seen.append(len(clean))
        return estimate(clean, triggered)

    monkeypatch.setattr(module, "MAX_SAMPLES", 20)
    monkeypatch.setattr(module, "estimate_overlay", count)
    assert option(stamp(maps()), stamp(maps(), 5, 3)) is not None
    assert seen == [15] * FOLDS + [20]


def test_there_is_none_where_nothing_is_added_to_the_input():
    assert option(maps(), maps()) is None


def test_there_is_none_where_a_fold_does_not_show_the_trigger():
    # All that is added lies in the samples of one fold.
    triggered = maps()
    triggered[FOLD == 1] = stamp(maps())[FOLD == 1]
    assert option(triggered, triggered) is None


def test_unpaired_samples_show_a_patch_as_pairs_do():
    unpaired = option(stamp(maps(1)), stamp(maps(1), 5, 3), paired=False)
    (layer,) = unpaired.layers
    # White on white is cut off, as above.
    changed = layer.correction.direction.abs() > 0.1
    assert changed.nonzero().tolist() == [[0, 0, 0]]
    assert len(unpaired.of_folds) == FOLDS
    assert 0.2 < layer.detection.threshold - layer.correction.base < 0.9
