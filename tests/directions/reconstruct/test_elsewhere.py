"""Searches on another device: they move nothing there and back, and find the same."""

import pytest
import torch

from tests.directions.reconstruct.patch_net import PatchNet, images, settings
from tests.elsewhere import ELSEWHERE, elsewhere
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.reconstruct.inversion import recover_images
from torchserve_fire_build.reconstruct.methods import SEARCH_METHODS
from torchserve_fire_build.reconstruct.moved_patch import moved_where_it_leads
from torchserve_fire_build.reconstruct.reconstruction import reconstruction_of
from torchserve_fire_build.reconstruct.screening import start
from torchserve_fire_build.reconstruct.subject import gather_subject
from torchserve_fire_build.samples.tensor_samples import TensorSamples

IMAGES = InputDescription("image", (3, 8, 8), (0.0,) * 3, (1.0,) * 3)
CLEAN = TensorSamples(images(80), description=IMAGES)

WAITS = {
    # Its bisection runs on the CPU.
    "abs": 1,
    # The length of the vector decides how much it is shortened.
    "additive": 1,
    "smooth": 1,
    # No gradients: what each wave, or angle, leads to is looked at.
    "sinusoidal": 4,
    "rotation": 1,
}
"""How often a step may wait for the device; the others wait less than once a step, to decide."""

STEPS = 10


def found_by(name, net):
    """A search of some steps, and what it needs to make a trigger of it."""
    subject = gather_subject(net, CLEAN, IMAGES, 0)
    search = start(name, subject, 0, 0, settings=settings(name))
    search.advance(STEPS)
    return subject, search


@pytest.mark.parametrize("name", list(SEARCH_METHODS))
@pytest.mark.slow
def test_a_search_finds_the_same_and_does_not_wait_for_each_step(monkeypatch, name):
    subject, search = found_by(name, PatchNet())
    search.advance(STEPS)
    expected = reconstruction_of(name, subject, 0, search)
    with elsewhere(monkeypatch) as watched:
        subject, search = found_by(name, PatchNet().to(ELSEWHERE))
        assert subject.inputs.device == subject.box.low.device == ELSEWHERE
        before = watched.waits.total()
        search.advance(STEPS)
        assert watched.waits.total() - before <= STEPS * WAITS.get(name, 0.9)
        found = reconstruction_of(name, subject, 0, search)
        # Samples stay on the CPU, also if they are stamped.
        assert torch.equal(found.stamp(images(8)), expected.stamp(images(8)))
        assert found.success == expected.success


def test_a_patch_is_put_elsewhere_on_the_same_samples(monkeypatch):
    def moved(net):
        subject, search = found_by("neural-cleanse", net)
        search.advance(60)
        return moved_where_it_leads(reconstruction_of("nc", subject, 0, search), subject)

    expected = moved(PatchNet(relative=True))
    with elsewhere(monkeypatch):
        found = moved(PatchNet(relative=True).to(ELSEWHERE))
        assert torch.equal(found.stamp(images(8)), expected.stamp(images(8)))


def test_images_are_recovered_from_a_model_elsewhere(monkeypatch):
    def recovered(net):
        generator = torch.Generator().manual_seed(0)
        samples = recover_images(net, IMAGES, generator=generator, budget=Budget(), count=8)
        return samples.load(range(len(samples)))

    expected = recovered(PatchNet())
    assert len(expected)
    with elsewhere(monkeypatch):
        assert torch.equal(recovered(PatchNet().to(ELSEWHERE)), expected)
