import pytest
import torch

from tests.directions.reconstruct.patch_net import PatchNet, unit_box
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.reconstruct.inversion import CONFIDENCE, recover_images
from torchserve_fire_build.samples.predict import logits_of

UNIT = InputDescription("image", (3, 8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def recover(net, *, description=UNIT, seed=0, count=100, budget=None):
    generator = torch.Generator().manual_seed(seed)
    return recover_images(
        net, description, generator=generator, budget=budget or Budget(), count=count
    )


def test_images_of_all_classes_that_a_request_could_carry():
    net = PatchNet(drive=0)
    recovered = recover(net)
    inputs = recovered.load(range(len(recovered)))
    assert len(recovered) == 100
    logits = logits_of(net, inputs)
    assert torch.equal(logits.argmax(1), torch.arange(100) % 4)
    assert float(logits.softmax(1).amax(1).min()) > CONFIDENCE - 0.02
    torch.testing.assert_close(unit_box().legal(inputs), inputs)


def test_the_box_is_that_of_the_description():
    net = PatchNet(drive=0)
    normalised = InputDescription("image", (3, 8, 8), (0.5, 0.5, 0.5), (0.1, 0.2, 0.3))
    inputs = recover(net, description=normalised).load(range(100))
    for channel, half in enumerate((5.0, 2.5, 0.5 / 0.3)):
        assert half / 20 < float(inputs[:, channel].abs().max()) <= half * 1.001


def test_images_of_a_class_differ_and_are_smoother_than_noise():
    inputs = recover(PatchNet(drive=0)).load(range(0, 100, 4))
    assert float(inputs.std(0).mean()) > 0.05
    assert float(inputs.diff(dim=3).square().mean()) < float(inputs.var())


def test_recovered_images_are_samples():
    recovered = recover(PatchNet(), count=10)
    assert str(recovered.source) == "images recovered from the model"
    assert len(recovered.names) == len(recovered)
    assert recovered.labels is None
    assert recovered.class_names is None
    assert recovered.load([]).shape == (0, 3, 8, 8)
    assert recovered.description == UNIT


def test_the_seed_decides_and_nothing_else_is_touched():
    net, state = PatchNet(), torch.get_rng_state()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    first, again, other = (recover(net, seed=seed, count=8).load(range(8)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_class_that_no_image_reaches_has_none():
    net = PatchNet(drive=0)
    with torch.no_grad():
        net.head.bias[3] = -100
    recovered = recover(net)
    predicted = logits_of(net, recovered.load(range(len(recovered)))).argmax(1)
    assert predicted.bincount(minlength=4).tolist() == [25, 25, 25, 0]


def test_without_time_there_are_no_images():
    assert len(recover(PatchNet(), budget=Budget(0))) == 0


def test_a_model_of_tensors_is_refused():
    with pytest.raises(CalibrationError, match="models of images only"):
        recover(PatchNet(), description=InputDescription("tensor", (3, 8, 8)))
