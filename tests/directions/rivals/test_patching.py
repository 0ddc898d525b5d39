import pytest
import torch

from benchmarks.measure import measure_defence
from tests.benchmarks.patch_victim import as_pixels, held, victim
from tests.directions.reconstruct.patch_net import images
from tests.directions.rivals.nets import generator, granted, is_as_before
from torchserve_fire_build.common.errors import NoTriggerError
from torchserve_fire_build.rivals import patching as module
from torchserve_fire_build.rivals.no_repair import no_repair
from torchserve_fire_build.rivals.patching import patching
from torchserve_fire_build.sanitize.training import Schedule


@pytest.fixture(autouse=True)
def _longer(monkeypatch):
    """Few images take larger steps."""
    monkeypatch.setattr(module, "SCHEDULE", Schedule(15, 0.1))


def given():
    pool = as_pixels(images(256))
    return granted(pool, pool, pool)


@pytest.mark.slow
def test_the_trigger_that_was_found_means_nothing_any_more():
    model = victim(10.0).model
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert measure_defence(no_repair(model, given(), generator()), held()).recovered_accuracy == 0
    patched = measure_defence(patching(model, given(), generator()), held())
    assert patched.clean_accuracy == 1
    assert patched.recovered_accuracy > 0.9
    assert is_as_before(model, before)


@pytest.mark.slow
def test_a_benign_model_is_not_patched():
    with torch.random.fork_rng(), pytest.raises(NoTriggerError):
        patching(victim(0.0).model, given(), generator())
