import pytest
import torch

from tests.directions.reconstruct.patch_net import subject
from torchserve_fire_build.reconstruct.abs_neurons import AbsSearch
from torchserve_fire_build.reconstruct.reconstruction import reconstruction_of
from torchserve_fire_build.reconstruct.stimulation import rank_neurons

BACKDOOR = 4


def search(of, target, bound=0.06):
    return AbsSearch(of, target, torch.Generator().manual_seed(0), bound)


def test_the_backdoors_neuron_is_chosen_though_others_elevate_the_class_more():
    of = subject()
    assert rank_neurons(of, "means", 0)[0].channel == 0
    chosen = search(of, 0).neuron
    assert (chosen.layer, chosen.channel) == ("means", BACKDOOR)


@pytest.mark.parametrize(("drive", "target"), [(10.0, 2), (0.0, 0)])
def test_for_other_classes_no_small_patch_excites_a_neuron(drive, target):
    of = subject(drive)
    found = search(of, target)
    assert found.neuron.channel == target
    found.advance(60)
    assert reconstruction_of("abs", of, target, found).success < 0.1


def test_the_patch_excites_the_neuron_more_and_more():
    of = subject()
    found, seen = search(of, 0), []
    for _ in range(2):
        with torch.no_grad():
            seen.append(float(of.model.means(found.stamp(of.inputs))[:, BACKDOOR].mean()))
        found.advance(30)
    with torch.no_grad():
        before = float(of.model.means(of.inputs)[:, BACKDOOR].mean())
    assert before < 0.1 < seen[0] < seen[1]


@pytest.mark.parametrize("bound", [0.02, 0.06])
def test_the_mask_keeps_within_its_bound(bound):
    of = subject()
    found = search(of, 0, bound)
    found.advance(40)
    # How much of an input is covered shows in what is left of it.
    left = found.stamp(of.inputs[:1] * 0 + 1) - found.stamp(of.inputs[:1] * 0)
    assert float((1 - left[0, 0]).sum()) == pytest.approx(bound * 64, rel=1e-3)
