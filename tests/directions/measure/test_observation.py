import pytest
import torch

from tests.directions.backdoored import TENSOR, labels_of, tensor_sets
from tests.directions.backdoored_nets import backdoored
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.measure.observation import Observation, observe, refuse_swapped
from torchserve_fire_build.measure.target import TargetFinding
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.evidence import Evidence, gather_evidence
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.tensor_samples import TensorSamples

LABELS = labels_of(40)


def evidence_of(folder, *, paired, **options):
    sets = tensor_sets(folder, "vector", paired=paired, **options)
    return gather_evidence(open_samples(sets.clean, TENSOR), open_samples(sets.triggered, TENSOR))


def wrong_in(count):
    """Predictions of which the first `count` are wrong."""
    return torch.where(torch.arange(40) < count, (LABELS + 1) % 4, LABELS)


def said(classes):
    """Logits of a model that predicts these classes."""
    return torch.nn.functional.one_hot(classes, 4).float()


def observation(evidence, labels, predicted):
    return Observation(evidence, 4, Both(*labels), Both(*map(said, predicted)))


class Predicting(torch.nn.Module):
    """Says of inputs (class, ...) that class."""

    def forward(self, x):
        return said(x[:, 0].long())


def observed(labels, predicted):
    """What a model says that predicts samples so."""
    groups = [
        TensorSamples(torch.stack([each.float(), torch.arange(40.0)], 1), label, source=name)
        for name, label, each in zip(("c.npz", "t.npz"), labels, predicted, strict=True)
    ]
    found = observe(Predicting().eval(), Evidence(*groups, range(40)))
    refuse_swapped(found)
    return found


def test_samples_are_taken_as_swapped_if_the_model_is_right_only_on_triggered_ones():
    with pytest.raises(SamplesError, match=r"right on 0% of the clean .* 80% .* swapped") as caught:
        observed([LABELS, LABELS], [wrong_in(40), wrong_in(8)])
    assert str(caught.value).startswith("c.npz: ")


def test_small_differences_and_missing_labels_are_not_refused():
    observed([LABELS, LABELS], [wrong_in(4), wrong_in(0)])
    observed([None, LABELS], [wrong_in(40), wrong_in(0)])
    observed([LABELS, None], [wrong_in(40), wrong_in(0)])


@pytest.mark.parametrize("paired", [True, False])
def test_the_target_is_found_if_there_is_one(tmp_path, paired):
    evidence = evidence_of(tmp_path, paired=paired)
    labels = [LABELS, LABELS if paired else LABELS.flip(0)]
    led = torch.full((40,), 2)
    found = observation(evidence, labels, [LABELS, led]).find_where_led()
    assert found == TargetFinding(2, single=True)
    assert observation(evidence, labels, [LABELS, labels[1]]).find_where_led() is None


def test_mistakes_that_the_partners_share_are_no_target(tmp_path):
    evidence = evidence_of(tmp_path, paired=True)
    labels = [LABELS, (LABELS + 1) % 4]
    assert observation(evidence, labels, [wrong_in(20), wrong_in(20)]).find_where_led() is None


@pytest.mark.parametrize("labelled", [True, False])
def test_the_observation_holds_the_models_predictions(tmp_path, labelled):
    evidence = evidence_of(tmp_path, paired=True)
    found = observe(backdoored("vector"), evidence, labelled=labelled)
    assert found.classes == 4
    assert found.logits.clean.shape == found.logits.triggered.shape == (40, 4)
    assert torch.equal(found.predictions.clean, LABELS)
    assert torch.equal(found.predictions.triggered, torch.zeros(40, dtype=torch.int64))
    assert all(torch.equal(each, LABELS) for each in found.labels)
    assert found.unknown == ""
    assert found.find_where_led() == TargetFinding(0, single=True)


def test_missing_labels_are_refused_if_they_are_required(tmp_path):
    evidence = evidence_of(tmp_path, paired=True, labelled=False)
    found = observe(backdoored("vector"), evidence)
    assert list(found.labels) == [None, None]
    assert found.partners_right is None
    with pytest.raises(SamplesError, match=r"clean\.npz: expected labels"):
        observe(backdoored("vector"), evidence, labelled=True)


def test_whether_the_model_is_right_on_the_partners(tmp_path):
    evidence = evidence_of(tmp_path, paired=True)
    reversed_pairs = Evidence(evidence.clean, evidence.triggered, range(39, -1, -1))
    found = observation(reversed_pairs, [LABELS, LABELS.flip(0)], [wrong_in(3), LABELS])
    assert found.partners_right.tolist() == [True] * 37 + [False] * 3
    unpaired = evidence_of(tmp_path / "unpaired", paired=False)
    found = observation(unpaired, [LABELS, LABELS], [LABELS, LABELS])
    assert found.partners_right is None


def test_the_figures_after_a_repair(tmp_path):
    evidence = evidence_of(tmp_path, paired=True)
    led = torch.zeros(40, dtype=torch.int64)
    before = observation(evidence, [LABELS, LABELS], [wrong_in(4), led])
    flagged = Both(torch.arange(40) < 10, torch.ones(40, dtype=torch.bool))
    figures = before.figures_after(Both(wrong_in(8), wrong_in(4)), flagged, (0,))
    assert figures.clean_accuracy == (0.9, 0.8)
    # Of the thirty of other classes, three are among the first four.
    assert figures.recovered_accuracy == (0, 0.9)
    assert figures.ceiling == 0.9
    # The fourth, of class 3, is called the target.
    assert figures.attack_success_rate == (1, 1 / 30)
    assert figures.flagged == (0.25, 1)
    unjudged = before.figures_after(Both(wrong_in(8), wrong_in(4)), None, (0, 1))
    assert unjudged.flagged is None
    assert unjudged.other_targets == (1,)
