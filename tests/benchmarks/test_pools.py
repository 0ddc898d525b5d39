import torch

from benchmarks.pools import draw_pool, shares_flagged
from benchmarks.victims.attacks.badnets import BadNets
from tests.benchmarks.test_evidence import is_triggered, pool


def test_a_share_of_the_images_is_triggered():
    drawn = draw_pool(BadNets(), pool(), 0.1, seed=0)
    assert len(drawn.images) == 400
    assert int(drawn.triggered.sum()) == 40
    assert torch.equal(is_triggered(drawn.images), drawn.triggered)
    assert 0 not in drawn.images.labels[drawn.triggered]
    assert not bool(draw_pool(BadNets(), pool(), 0.0, seed=0).triggered.any())


def test_a_seed_draws_the_same_and_another_seed_does_not():
    first, same, other = (draw_pool(BadNets(), pool(), 0.1, seed).images for seed in (0, 0, 1))
    assert torch.equal(first.pixels, same.pixels)
    assert not torch.equal(first.pixels, other.pixels)


def test_what_was_found_is_counted_apart_where_the_trigger_works():
    drawn = draw_pool(BadNets(), pool(), 0.1, seed=0)
    triggered = drawn.triggered.nonzero().flatten()
    flagged = torch.zeros(400, dtype=torch.bool)
    flagged[triggered[:30]] = True
    flagged[(~drawn.triggered).nonzero().flatten()[:9]] = True
    # On the other ten the trigger does not work.
    predicted = drawn.wanted.clone()
    predicted[triggered[30:]] = 5
    found = shares_flagged(flagged, predicted, drawn)
    assert found == {"found": 0.75, "found_of_working": 1.0, "falsely_flagged": 9 / 360}
