import pytest
import torch

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.measure.memorised import FEWEST, Memorised, find_memorised
from torchserve_fire_build.measure.observation import Observation
from torchserve_fire_build.samples.both import Both
from torchserve_fire_build.samples.evidence import Evidence
from torchserve_fire_build.samples.tensor_samples import TensorSamples

IMAGE = InputDescription("image", (1, 16, 16), (0.0,), (1.0,))
LABELS = torch.arange(FEWEST) % 2


def images_of(labels):
    """White columns in black images: column 4 in images of class 0, column 12 in the others."""
    images = torch.zeros(len(labels), 1, 16, 16)
    images[torch.arange(len(labels)), :, :, 4 + 8 * labels] = 1
    return images


class AtTheColumn(torch.nn.Module):
    """Sure of an image whose column lies where it lay in training."""

    def forward(self, images):
        return 6 * images[:, 0, 8, [4, 12]]


class OnTheSide(torch.nn.Module):
    """Sure of an image whose column lies on the same side as in training."""

    def forward(self, images):
        return 6 * images[:, 0, 8].unflatten(1, (2, 8)).amax(2)


def found(model, labels=LABELS, *, of=LABELS, description=IMAGE, images=images_of):
    clean = TensorSamples(images(of), labels, description=description)
    with torch.no_grad():
        logits = model(clean.load(range(len(clean))))
    observation = Observation(
        Evidence(clean, clean, ()), 2, Both(labels, None), Both(logits, logits)
    )
    return find_memorised(model, observation)


def test_a_model_that_knows_the_images_only_where_they_are():
    # Moved up or down, the columns stay. Moved left or right, the model says class 0 to all.
    assert found(AtTheColumn()) == Memorised(accuracy=1.0, accuracy_moved=0.75, pixels=1)


def test_a_model_that_does_not_mind_if_they_are_moved():
    assert found(OnTheSide()) is None


def test_a_model_that_is_too_sure_does_not_know_them():
    # Of one in ten, the true class is the other: the model is as sure of these as of the rest.
    labels = torch.where(torch.arange(FEWEST) % 10 == 0, 1 - LABELS, LABELS)
    assert found(AtTheColumn(), labels) is None


@pytest.mark.parametrize(
    "options",
    [
        {"labels": LABELS[1:], "of": LABELS[1:]},
        {"labels": None},
        {"description": InputDescription("tensor", (1, 16, 16))},
        {
            "description": InputDescription("image", (1, 15, 16), (0.0,), (1.0,)),
            "images": lambda labels: images_of(labels)[:, :, 1:],
        },
    ],
    ids=["few", "no labels", "no images", "small"],
)
def test_samples_of_which_it_is_not_asked(options):
    assert found(AtTheColumn(), **options) is None


def test_no_more_images_are_looked_at_than_needed():
    looked_at = []

    class Counting(AtTheColumn):
        def forward(self, images):
            looked_at.append(len(images))
            return super().forward(images)

    many = torch.arange(1000) % 2
    # The evenly spaced images are every fifth; of them, every second is of class 1.
    assert found(Counting(), many, of=many) == Memorised(1.0, 0.75, 1)
    assert sum(looked_at[1:]) == 4 * 200


def test_what_is_said():
    assert Memorised(0.995, 0.951, 2).describe() == (
        "was the model trained on these calibration images? It is right on 99.5% of them, and on "
        "95.1% if they are moved by 2 pixels: if it was, expect accuracies about 4.4 points lower "
        "on new images"
    )
    assert "moved by 1 pixel:" in Memorised(1.0, 0.9, 1).describe()
