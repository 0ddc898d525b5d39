import pytest
import torch
from torch import nn

from benchmarks.victims.architectures import ARCHITECTURES
from benchmarks.victims.recipe import SCHEDULES
from torchserve_fire_build.estimate.candidate_layers import candidate_layers


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("classes", [10, 7])
def test_gives_a_logit_for_each_class_that_depends_on_the_image(name, classes):
    model = ARCHITECTURES[name](classes).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 32, 32, generator=generator)
    # A vision transformer's last layer is nothing but zeros before training.
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, generator=generator)
    with torch.no_grad():
        logits = model(images)
    assert logits.shape == (2, classes)
    assert logits.isfinite().all()
    assert (logits[0] != logits[1]).any()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_has_layers_to_repair_at(name):
    model = ARCHITECTURES[name](10).eval()
    layers = candidate_layers(model, torch.zeros(1, 3, 32, 32))
    assert len(layers) >= 3
    assert set(layers) <= set(dict(model.named_modules()))


def test_each_has_a_schedule():
    assert set(SCHEDULES) == set(ARCHITECTURES)
