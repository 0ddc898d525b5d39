import pytest

from tests.directions.backdoored import TENSOR, tensor_sets, two_trigger_sets
from tests.directions.backdoored_nets import backdoored
from tests.directions.sanitize.nets import twin
from torchserve_fire_build.common.errors import SamplesError
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.sanitize.comparing import compare, observe_before


def opened(sets):
    return open_samples(sets.clean, TENSOR), open_samples(sets.triggered, TENSOR)


def test_the_figures_before_and_after_the_backdoor_is_removed(tmp_path):
    before = observe_before(backdoored("vector"), *opened(tensor_sets(tmp_path, "vector")))
    figures = compare(before, twin("vector"))
    assert figures.clean_accuracy == (1, 1)
    assert figures.attack_success_rate == (1, 0)
    assert figures.recovered_accuracy == (0, 1)
    assert figures.ceiling == 1
    assert figures.flagged is None
    assert (figures.target, figures.counts) == (0, (40, 30))


def test_the_same_weights_have_the_same_figures_before_and_after(tmp_path):
    model = backdoored("vector")
    before = observe_before(model, *opened(tensor_sets(tmp_path, "vector", paired=False)))
    figures = compare(before, model)
    assert figures.attack_success_rate == (1, 1)
    assert figures.recovered_accuracy == (0, 0)
    assert figures.ceiling is None


def test_two_triggers_have_figures_together(tmp_path):
    model = backdoored("vector", second_trigger=True)
    before = observe_before(model, *opened(two_trigger_sets(tmp_path, "vector")))
    figures = compare(before, twin("vector"))
    assert {figures.target, *figures.other_targets} == {0, 1}
    assert figures.attack_success_rate == (0.75, 0)
    assert figures.recovered_accuracy == (0.25, 1)


def test_a_benign_model_has_nothing_to_compare(tmp_path):
    samples = opened(tensor_sets(tmp_path, "vector"))
    with pytest.raises(SamplesError, match="expected samples with a trigger of this model"):
        observe_before(twin("vector"), *samples)
