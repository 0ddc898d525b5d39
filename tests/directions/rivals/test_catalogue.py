from dataclasses import replace

import pytest
import torch

from benchmarks.victims.architectures import ARCHITECTURES
from benchmarks.victims.data import Images
from tests.directions.rivals.nets import generator, granted, inputs_of, is_as_before
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.common.names import RIVALS as NAMES
from torchserve_fire_build.reconstruct.find_triggers import FoundTriggers
from torchserve_fire_build.reconstruct.reconstruction import Reconstruction
from torchserve_fire_build.rivals import (
    activation_clipping,
    fine_pruning,
    fine_tuning,
    neural_polarizer,
    patching,
    retraining,
    unit,
)
from torchserve_fire_build.rivals.catalogue import RIVALS
from torchserve_fire_build.rivals.rival import RivalNotApplicable
from torchserve_fire_build.samples.tensor_samples import TensorSamples
from torchserve_fire_build.sanitize.training import Schedule

CANNOT = {
    ("channel_lipschitz_pruning", "vit"): RivalNotApplicable,
    # It builds a bundle, and these images show no trigger.
    ("orthogonalizing", "preact_resnet"): CalibrationError,
    ("orthogonalizing", "vit"): CalibrationError,
    # It calls none of these images the target.
    ("spectral_signatures", "preact_resnet"): RivalNotApplicable,
}

JUDGING = {"fire_flagged_inputs", "isolation_forest", "spectral_signatures"}


def images(count, seed):
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=generator(seed))
    return Images(pixels.byte(), torch.arange(count) % 10)


def recovered(model, description, **given):
    images = torch.rand(32, 3, 32, 32, generator=generator())
    return TensorSamples(images, description=description)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    for module in (fine_tuning, fine_pruning, patching, retraining):
        monkeypatch.setattr(module, "SCHEDULE", Schedule(1, 0.01))
    monkeypatch.setattr(neural_polarizer, "EPOCHS", 1)
    monkeypatch.setattr(unit, "STEPS", 1)
    monkeypatch.setattr(activation_clipping, "QUANTILES", (1.0, 0.9))
    monkeypatch.setattr(patching, "recover_images", recovered)
    found = FoundTriggers(0, [Reconstruction("by hand", 0, torch.zeros_like, 1.0)], [])
    monkeypatch.setattr(patching, "find_triggers", lambda *args, **given: found)


@pytest.mark.parametrize("architecture", ["preact_resnet", "vit"])
@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_keeps_the_contract(name, architecture):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ARCHITECTURES[architecture](10).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    given = granted(images(8, 0), images(8, 1), images(128, 2), classes=10)
    given = replace(given, fresh=lambda: ARCHITECTURES[architecture](10))
    if error := CANNOT.get((name, architecture)):
        with pytest.raises(error):
            RIVALS[name](model, given, generator())
        assert is_as_before(model, before)
        return
    inputs = inputs_of(images(6, 3))
    answers, again = (RIVALS[name](model, given, generator())(inputs) for _ in range(2))
    assert answers.predictions.shape == (6,)
    assert answers.predictions.dtype == torch.int64
    assert answers.passes.dtype == torch.float32
    assert answers.passes.shape == (6,)
    assert (answers.flagged is not None) == (name in JUDGING)
    if answers.flagged is not None:
        assert answers.flagged.dtype == torch.bool
    assert torch.equal(answers.predictions, again.predictions)
    assert is_as_before(model, before)


def test_the_command_knows_them_by_name():
    assert tuple(RIVALS) == NAMES
