import pytest
import torch

from tests.directions.scan.many_net import SHAPE, ManyNet, images
from tests.directions.scan.short_scan import shorten
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.common.budget import Budget
from torchserve_fire_build.common.errors import CalibrationError
from torchserve_fire_build.samples.tensor_samples import TensorSamples
from torchserve_fire_build.scan.judged_scan import scan_and_judge
from torchserve_fire_build.scan.other_classes import MIN_OTHERS

CLASSES = 5
DESCRIPTION = InputDescription("image", SHAPE, (0.0,), (1.0,))


def scanned(others):
    """Scan with so many images of other classes than the first, which has 50."""
    inputs = images(CLASSES, 50 * CLASSES)
    first = torch.arange(len(inputs)) % CLASSES == 0
    clean = torch.cat([inputs[first], inputs[~first][:others]])
    samples = TensorSamples(clean, source="clean", description=DESCRIPTION)
    return scan_and_judge(ManyNet(CLASSES), samples, DESCRIPTION, seed=0, budget=Budget())


def test_the_share_of_a_few_images_that_are_led_to_the_class_of_all_others_is_not_judged():
    says = "clean: 50 of 59 clean samples are predicted as class 0, expected at least 10 of other"
    with pytest.raises(CalibrationError, match=says):
        scanned(MIN_OTHERS - 1)


def test_some_images_of_other_classes_will_do(monkeypatch):
    shorten(monkeypatch)
    assert not scanned(MIN_OTHERS).scan.failed
