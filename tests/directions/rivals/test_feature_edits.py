import torch

from benchmarks.victims.data import Images
from tests.directions.rivals.nets import (
    accuracy,
    granted,
    light_corner,
    quadrant_images,
    quadrant_net,
)
from torchserve_fire_build.rivals.feature_edits import defend_at_best_layer


def test_the_edit_that_serves_both_kinds_is_chosen():
    model = quadrant_net()
    clean, triggered = quadrant_images(20, seed=0), light_corner(quadrant_images(20, seed=0))

    def without_corner(features):
        return features * torch.tensor([1.0, 1, 1, 1, 0])

    edits = {"net.features.linear": torch.zeros_like, "net.features.relu": without_corner}
    for order in (edits, dict(reversed(edits.items()))):
        defence = defend_at_best_layer(model, granted(clean, triggered, clean).labelled, order)
        assert accuracy(defence, clean) == accuracy(defence, triggered) == 1


def test_of_equals_the_first_is_chosen():
    images = Images(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.long))
    seen = []

    def noting(name):
        def edit(features):
            seen.append(name)
            return features

        return edit

    model = quadrant_net()
    edits = {name: noting(name) for name in ("net.features.linear", "net.features.relu")}
    defence = defend_at_best_layer(model, granted(images, images, images).labelled, edits)
    seen.clear()
    defence(torch.zeros(1, 3, 8, 8))
    assert seen == ["net.features.linear"]
