import torch

from benchmarks.victims.data import Images
from tests.directions.rivals.nets import accuracy, colour_images, colour_net, generator, granted
from torchserve_fire_build.rivals import fine_tuning as module
from torchserve_fire_build.rivals.fine_tuning import fine_tuning
from torchserve_fire_build.sanitize.training import Schedule


def test_the_labels_of_the_pool_are_learned_by_a_copy(monkeypatch):
    # So few images take larger steps.
    monkeypatch.setattr(module, "SCHEDULE", Schedule(20, 0.1))
    images = colour_images(256, seed=0)
    pool = Images(images.pixels, (images.labels + 1) % 3)
    model = colour_net(drive=0)
    before = model.net.head.weight.clone()
    tuned = fine_tuning(model, granted(pool, pool, pool, classes=3), generator())
    assert accuracy(tuned, pool) > 0.9
    assert torch.equal(model.net.head.weight, before)
