import pytest
import torch

from tests.directions.backdoored import TENSOR, labels_of, tensor_sets
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.measure.observation import find_where_led, refuse_swapped
from torchserve_fire_build.measure.target import TargetFinding
from torchserve_fire_build.samples.evidence import gather_evidence
from torchserve_fire_build.samples.open_samples import open_samples

LABELS = labels_of(40)


def evidence_of(folder, *, paired):
    sets = tensor_sets(folder, "vector", paired=paired)
    return gather_evidence(open_samples(sets.clean, TENSOR), open_samples(sets.triggered, TENSOR))


def wrong_in(count):
    """Predictions of which the first `count` are wrong."""
    return torch.where(torch.arange(40) < count, (LABELS + 1) % 4, LABELS)


def test_a_model_that_is_right_on_the_triggered_samples_alone(tmp_path):
    evidence = evidence_of(tmp_path, paired=True)
    with pytest.raises(SamplesError, match=r"right on 0% of the clean .* 80% .* swapped") as caught:
        refuse_swapped(evidence, [LABELS, LABELS], [wrong_in(40), wrong_in(8)])
    assert str(evidence.clean.source) in str(caught.value)


def test_what_chance_or_missing_labels_give_is_not_refused(tmp_path):
    evidence = evidence_of(tmp_path, paired=True)
    refuse_swapped(evidence, [LABELS, LABELS], [wrong_in(4), wrong_in(0)])
    refuse_swapped(evidence, [None, LABELS], [wrong_in(40), wrong_in(0)])
    refuse_swapped(evidence, [LABELS, None], [wrong_in(40), wrong_in(0)])


@pytest.mark.parametrize("paired", [True, False])
def test_where_samples_are_led(tmp_path, paired):
    evidence = evidence_of(tmp_path, paired=paired)
    labels = [LABELS, LABELS if paired else LABELS.flip(0)]
    led = torch.full((40,), 2)
    assert find_where_led(evidence, labels, [LABELS, led], 4) == TargetFinding(2, single=True)
    assert find_where_led(evidence, labels, [LABELS, labels[1]], 4) is None


def test_mistakes_that_the_partners_share_lead_nowhere(tmp_path):
    evidence = evidence_of(tmp_path, paired=True)
    labels = [LABELS, (LABELS + 1) % 4]
    assert find_where_led(evidence, labels, [wrong_in(20), wrong_in(20)], 4) is None
