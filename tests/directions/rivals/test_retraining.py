from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.measure import measure_defence
from tests.benchmarks.patch_victim import as_pixels, held
from tests.directions.reconstruct.patch_net import images
from tests.directions.rivals.nets import colour_net, generator, granted
from torchserve_fire_build.rivals import retraining as module
from torchserve_fire_build.rivals.retraining import retraining
from torchserve_fire_build.rivals.rival import RivalNotApplicable
from torchserve_fire_build.sanitize.training import Schedule


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))


@pytest.fixture(autouse=True)
def _longer(monkeypatch):
    monkeypatch.setattr(module, "SCHEDULE", Schedule(40, 0.1))


def given():
    pool = as_pixels(images(256))
    return granted(pool, pool, pool)


def test_an_architecture_learns_from_the_pool_alone():
    model = build().eval()
    before = model[1].weight.clone()
    figures = measure_defence(retraining(model, replace(given(), fresh=build), generator()), held())
    assert (figures.clean_accuracy, figures.recovered_accuracy) == (1, 1)
    assert torch.equal(model[1].weight, before)


def test_a_model_that_nobody_can_build():
    with pytest.raises(RivalNotApplicable, match="nothing builds it"):
        retraining(colour_net(), given(), generator())
