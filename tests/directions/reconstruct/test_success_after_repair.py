from dataclasses import replace

import pytest
import torch

from tests.directions.backdoored import write_tensors
from tests.directions.reconstruct.patch_net import PatchNet, images, stamp
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire_build.building.build_options import BuildOptions
from torchserve_fire_build.building.from_samples import build_from_evidence
from torchserve_fire_build.reconstruct.reconstruction import Reconstruction
from torchserve_fire_build.reconstruct.stamped_samples import stamp_samples
from torchserve_fire_build.reconstruct.success_after_repair import success_after_repair
from torchserve_fire_build.samples.read_tensors import read_tensors

TRIGGER = Reconstruction("by hand", 0, stamp, 1.0)


@pytest.fixture
def bundle(tmp_path):
    samples = read_tensors(write_tensors(tmp_path / "clean.npz", images(80), torch.arange(80) % 4))
    model = LoadedModel(PatchNet(), "PatchNet", "0" * 64)
    evidence = stamp_samples(samples, [TRIGGER] * 2)
    return build_from_evidence(model, evidence, BuildOptions(target=0)).bundle


def with_strength(bundle, strength):
    layers = [
        replace(layer, correction=replace(layer.correction, strength=strength))
        if layer.correction
        else layer
        for layer in bundle.layers
    ]
    return replace(bundle, layers=tuple(layers))


def test_a_trigger_that_is_undone_leads_no_longer(bundle):
    net = PatchNet().eval()
    assert success_after_repair(net, bundle, [TRIGGER], images(80, seed=3)) == [0]
    assert not any(module._forward_hooks for module in net.modules())


def test_with_a_repair_of_strength_0_all_are_led(bundle):
    # A quarter of the images are of the target anyway, and do not count.
    idle = with_strength(bundle, 0.0)
    assert success_after_repair(PatchNet().eval(), idle, [TRIGGER], images(80, seed=3)) == [1]
    nothing = replace(TRIGGER, stamp=lambda inputs: inputs)
    assert success_after_repair(PatchNet().eval(), idle, [nothing], images(80, seed=3)) == [0]


def test_if_all_inputs_are_of_the_target_none_is_led(bundle):
    of_target = images(80, seed=3)[::4]
    idle = with_strength(bundle, 0.0)
    assert success_after_repair(PatchNet().eval(), idle, [TRIGGER], of_target) == [0]


def test_a_trigger_may_lead_half_of_the_inputs(bundle):
    def stamp_every_other(inputs):
        even = torch.arange(len(inputs)) % 2 == 0
        return torch.where(even[:, None, None, None], stamp(inputs), inputs)

    half = replace(TRIGGER, stamp=stamp_every_other)
    idle = with_strength(bundle, 0.0)
    assert success_after_repair(PatchNet().eval(), idle, [half], images(80, seed=3)) == [0.5]
