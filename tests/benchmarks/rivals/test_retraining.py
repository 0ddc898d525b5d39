import pytest
import torch
from torch import nn

from benchmarks.measure import measure_defence
from benchmarks.rivals import retraining as module
from benchmarks.rivals.retraining import retraining
from benchmarks.rivals.rival import RivalNotApplicable
from tests.benchmarks.patch_victim import as_pixels, held
from tests.benchmarks.rivals.nets import colour_net, generator, granted
from tests.directions.reconstruct.patch_net import images
from torchserve_fire_build.sanitize.training import Schedule


def build(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, classes))


@pytest.fixture(autouse=True)
def _unaugmented(monkeypatch):
    monkeypatch.setattr(module, "SCHEDULE", Schedule(40, 0.1))
    monkeypatch.setattr(module, "augment_normalised", lambda images, generator: images)
    monkeypatch.setattr(module, "ARCHITECTURES", {"other": lambda n: nn.Linear(3, n), "net": build})


def given():
    pool = as_pixels(images(256))
    return granted(pool, pool, pool)


def test_an_architecture_learns_from_the_pool_alone():
    model = build(4).eval()
    before = model[1].weight.clone()
    figures = measure_defence(retraining(model, given(), generator()), held())
    assert (figures.clean_accuracy, figures.recovered_accuracy) == (1, 1)
    assert torch.equal(model[1].weight, before)


def test_a_model_that_nobody_can_build():
    with pytest.raises(RivalNotApplicable, match="no architecture"):
        retraining(colour_net(), given(), generator())
