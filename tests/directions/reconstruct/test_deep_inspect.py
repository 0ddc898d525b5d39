import pytest
import torch

from tests.directions.reconstruct.patch_net import PatchNet, subject
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.reconstruct.deep_inspect import NAME, search_all_classes
from torchserve_fire_build.reconstruct.inversion import recover_images
from torchserve_fire_build.reconstruct.screening import screen
from torchserve_fire_build.reconstruct.subject import gather_subject

UNIT = InputDescription("image", (3, 8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def start(of, seed=0):
    return search_all_classes(of, torch.Generator().manual_seed(seed), 1.0)


def screened_without_images(drive, seed=0):
    # Images that nobody has taken may be of any brightness, which is not to be the trigger.
    net = PatchNet(drive, relative=True)
    generator = torch.Generator().manual_seed(seed)
    recovered = recover_images(net, UNIT, generator=generator, budget=Budget())
    return screen(gather_subject(net, recovered, UNIT, seed), NAME, seed, Budget())


def test_without_images_only_the_target_stands_out():
    assert screened_without_images(40.0).suspects == [0]


@pytest.mark.slow
def test_without_images_no_class_of_a_benign_model_stands_out():
    assert screened_without_images(0.0).suspects == []


def test_the_classes_share_what_they_learn():
    searches = start(subject())
    first, other = searches[0], searches[2]
    before = other.stamp(torch.zeros(1, 3, 8, 8))
    first.advance(20)
    trained = other.stamp(torch.zeros(1, 3, 8, 8))
    assert not torch.equal(before, trained)
    # What the first has asked for is done for the other, too.
    other.advance(20)
    assert torch.equal(other.stamp(torch.zeros(1, 3, 8, 8)), trained)


def test_a_trigger_is_the_same_for_all_inputs_and_differs_between_classes():
    of = subject()
    searches = start(of)
    searches[0].advance(30)
    changes = [search.stamp(of.inputs) - of.inputs for search in searches]
    for change in changes:
        torch.testing.assert_close(change, change[:1].expand_as(change), atol=1e-6, rtol=0)
    assert not torch.allclose(changes[0][0], changes[1][0])


def test_the_effort_is_the_logarithm_of_the_triggers_size():
    search = start(subject())[0]
    assert search.effort(0.0) == pytest.approx(torch.tensor(64.0).log())
    search.advance(200)
    change = search.stamp(torch.zeros(1, 3, 8, 8))
    assert search.effort(0.0) == pytest.approx(float((change.abs().sum() / 3).log()), abs=1e-5)


def test_the_classes_are_screened_together_or_not_at_all():
    screening = screen(subject(), NAME, 0, Budget(0))
    assert screening.searches == []
    assert screening.index is None
