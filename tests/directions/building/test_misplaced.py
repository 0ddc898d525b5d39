from dataclasses import replace

import pytest
import torch

from tests.directions.alter.images import DESCRIPTION, everything, image_evidence, in_8_bits
from tests.directions.backdoored import clean_inputs, labels_of, loaded, stamp
from tests.directions.backdoored_nets import backdoored
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.building.from_samples import build_from_evidence
from torchserve_fire_build.building.misplaced import leave_out_misplaced
from torchserve_fire_build.building.triggers import Trigger
from torchserve_fire_build.measure.observation import observe
from torchserve_fire_build.measure.target import TargetFinding
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.tensor_samples import TensorSamples

MISPLACED = [1, 6, 11]
"""Clean samples, none of the target, class 0."""


def evidence_with(rows):
    """Unpaired evidence, in which these of the clean samples have the trigger."""
    evidence = image_evidence(paired=False)
    inputs = everything(evidence.clean)
    inputs[rows] = in_8_bits(stamp("map", inputs[rows]))
    clean = TensorSamples(inputs, labels_of(40), description=DESCRIPTION, source="clean")
    return replace(evidence, clean=clean)


def observed(rows, *, labelled=True):
    observation = observe(backdoored("map"), evidence_with(rows))
    return observation if labelled else replace(observation, labels=Both(None, None))


def left(observation):
    use = torch.ones(len(observation.evidence.triggered), dtype=torch.bool)
    return leave_out_misplaced(observation, Trigger(TargetFinding(0, single=True), use))


@pytest.mark.parametrize("labelled", [True, False])
def test_clean_samples_that_show_the_trigger_are_left_out(labelled, logged):
    before = observed(MISPLACED, labelled=labelled)
    after = left(before)
    kept = [i for i in range(40) if i not in MISPLACED]
    assert torch.equal(everything(after.evidence.clean), everything(before.evidence.clean)[kept])
    assert torch.equal(after.logits.clean, before.logits.clean[kept])
    if labelled:
        assert torch.equal(after.labels.clean, before.labels.clean[kept])
    assert after.evidence.triggered is before.evidence.triggered
    (line,) = logged.messages[-1:]
    assert line.startswith("clean samples that show the trigger, and are left out: 3 (")


def test_no_more_than_three_are_named(logged):
    left(observed([*MISPLACED, 17, 22]))
    assert logged.messages[-1].endswith(", and 2 more)")


def test_where_none_shows_it_nothing_changes():
    before = observed([])
    assert left(before) is before
    unlabelled = observed([], labelled=False)
    assert left(unlabelled) is unlabelled


def test_what_is_labelled_as_the_target_stays():
    # As an image of the target that somebody marked by chance; its label says what it is.
    before = observed([0, 4])
    assert left(before) is before


def test_what_most_of_the_target_show_is_no_trigger_unless_labels_say_so(logged):
    # Of 25 that are called the target, 15 show it.
    others = [i for i in range(40) if i % 4][:15]
    unlabelled = observed(others, labelled=False)
    assert left(unlabelled) is unlabelled
    assert logged.messages[-1].startswith(
        "most clean samples that are predicted as class 0 show the trigger: 15 ("
    )
    assert len(left(observed(others)).evidence.clean) == 25


def test_the_bundle_repairs_in_spite_of_them():
    evidence = evidence_with(MISPLACED)
    bundle = build_from_evidence(loaded("map"), evidence, BuildOptions()).bundle
    assert bundle.evidence["clean"] == 37
    labels = labels_of(80)
    test = clean_inputs("map", labels, 9).clamp(0, 1)
    net = backdoored("map")
    with torch.no_grad(), attach_layers(net, bundle.layers, test[:1], target=bundle.target):
        assert torch.equal(net(test).argmax(1), labels)
        right = net(stamp("map", test)).argmax(1) == labels
    assert float(right.float().mean()) > 0.95
