import torch

from tests.directions.reconstruct.patch_net import images, stamp, subject
from torchserve_fire_build.reconstruct.feature_space import BenignFeatures, search_all_classes

BOUND = 7 / 255


def seeded():
    return torch.Generator().manual_seed(0)


def test_features_that_classes_depend_on_are_benign():
    benign = BenignFeatures(subject(), seeded())
    # The four quadrants' means, and the trigger's place.
    assert benign.mask.shape == (5,)
    assert bool((benign.mask[:4] > 0.8).all())
    assert float(benign.mask[4]) < float(benign.mask[:4].min())


def test_a_trigger_leaves_the_benign_features_as_they_are():
    benign, clean = BenignFeatures(subject(), seeded()), images(40)
    with torch.no_grad():
        _, before = benign.see(clean)
        logits, after = benign.see(stamp(clean))
    assert bool((logits.argmax(1) == 0).all())
    assert float((after - before)[:, :4].abs().max()) < 0.1


def test_within_the_bound_only_the_search_for_the_target_leads_there():
    of = subject()
    searches = search_all_classes(of, seeded(), BOUND)
    assert len(searches) == 4
    changes, led = [], []
    for target in (0, 2):
        searches[target].advance(60)
        inputs = of.others(target)
        with torch.no_grad():
            stamped = of.box.legal(searches[target].stamp(inputs))
        led.append(of.success(stamped, target))
        changes.append(float((stamped - inputs).square().mean().sqrt()))
    assert led[0] > 0.9
    assert led[1] < 0.5
    assert max(changes) <= BOUND * 1.05
