from dataclasses import replace

import pytest
import torch

from tests.directions.alter.images import everything, image_evidence, in_8_bits
from tests.directions.backdoored_nets import backdoored
from torchserve_fire_build.building.stamp_clean import stamp_clean
from torchserve_fire_build.building.triggers import Trigger
from torchserve_fire_build.measure.observation import observe
from torchserve_fire_build.measure.target import TargetFinding
from torchserve_fire_build.samples.both import Both


def observed(model, **options):
    return observe(model, image_evidence(**options))


def trigger_of(observation, *, single=True):
    use = torch.ones(len(observation.evidence.triggered), dtype=torch.bool)
    return Trigger(TargetFinding(0, single=single), use)


def stamped(**options):
    model = backdoored("map")
    observation = observed(model, paired=False, **options)
    return model, observation, stamp_clean(model, observation, trigger_of(observation))


def test_clean_samples_get_the_trigger_that_unpaired_ones_show():
    model, before, after = stamped()
    assert after.evidence.paired
    assert after.evidence.clean is before.evidence.clean
    clean, found = everything(before.evidence.clean), everything(after.evidence.triggered)
    expected = in_8_bits(clean[list(after.evidence.partners)])
    # The trigger is brighter than all else, so it may have been cut off: all of the range is added.
    expected[:, 0, 0, 0] = found[:, 0, 0, 0]
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)
    assert bool((found[:, 0, 0, 0] > 3.9).all())
    with torch.no_grad():
        torch.testing.assert_close(model(found), after.logits.triggered)
    assert bool((after.predictions.triggered == 0).all())


def test_samples_of_the_target_are_not_stamped():
    _, before, after = stamped()
    labels = before.labels.clean
    assert sorted(after.evidence.partners) == (labels != 0).nonzero().flatten().tolist()
    assert torch.equal(after.labels.triggered, labels[list(after.evidence.partners)])


def test_without_labels_there_are_none():
    model = backdoored("map")
    observation = replace(observed(model, paired=False), labels=Both(None, None))
    after = stamp_clean(model, observation, trigger_of(observation))
    assert after.labels == Both(None, None)


@pytest.mark.parametrize("options", [{"paired": True}, {"paired": False, "single": False}])
def test_pairs_and_triggers_with_several_targets_are_left(options):
    model = backdoored("map")
    single = options.pop("single", True)
    observation = observed(model, **options)
    assert stamp_clean(model, observation, trigger_of(observation, single=single)) is None


def test_there_are_none_if_what_was_fitted_is_not_the_trigger(logged):
    # The bright pixel is elsewhere in each sample, so that no fit shows it.
    def somewhere(inputs):
        inputs = inputs.clone()
        inputs.flatten(1)[torch.arange(len(inputs)), torch.arange(len(inputs)) * 7 % 36] = 4
        return inputs

    _, _, after = stamped(trigger=somewhere)
    assert after is None
    assert "clean samples that the fitted trigger leads to the target: 0 %" in logged.messages


def test_too_few_clean_samples_of_other_classes_are_not_stamped():
    model = backdoored("map")
    observation = observed(model, paired=False)
    labels = torch.zeros_like(observation.labels.clean)
    observation = replace(observation, labels=Both(labels, observation.labels.triggered))
    assert stamp_clean(model, observation, trigger_of(observation)) is None
