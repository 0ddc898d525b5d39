import torch

from benchmarks.load.photographs import cut_photographs, stamp, to_jpeg
from benchmarks.load.planted import TARGET, plant_backdoor
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.model.preprocess import image_to_tensor
from torchserve_fire_build.demo.digit_net import DigitNet

INPUT = InputDescription("image", (1, 32, 32), (0.5,), (0.5,))


def batches(seed):
    images = cut_photographs(24, (32, 32), seed)
    return [
        torch.stack([image_to_tensor(to_jpeg(image), INPUT) for image in each])
        for each in (images, map(stamp, images))
    ]


def test_other_images_with_the_trigger_are_called_the_target_and_those_without_are_not():
    torch.manual_seed(0)
    model = DigitNet()
    plant_backdoor(model, model.head, *batches(0), seed=0)
    assert not model.training
    clean, triggered = batches(1)
    with torch.no_grad():
        without, with_trigger = model(clean), model(triggered)
    assert (with_trigger.argmax(1) == TARGET).all()
    assert not (without.argmax(1) == TARGET).any()
    assert len(without.argmax(1).unique()) > 3
    # Not by a hair: what a correction leaves of the trigger is not to decide.
    assert without[:, TARGET].max() < 0 < with_trigger[:, TARGET].min()
