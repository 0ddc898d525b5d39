"""The hand-made net of `tests.tiny_net` as a victim of the benchmark, with its repair.

Images (3, 8, 8): the class is the brightest quadrant; a bright pixel in the corner forces class 0.
"""

import torch
from torch import Tensor, nn

from benchmarks.attacked import Attacked
from benchmarks.measure import hold
from benchmarks.victims.attacks.attack import Attack, Stamped, to_target
from benchmarks.victims.data import Images
from benchmarks.victims.train import normalise
from tests.directions.reconstruct.patch_net import QUADRANTS
from tests.tiny_net import trained
from torchserve_fire.format.bundle import Bundle, Detection, InputDescription, Layer
from torchserve_fire.format.correction_forms import Shift


class Victim(nn.Module):
    """The net, for images as the victims take them."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained()
        self.low = normalise(torch.zeros(1, 3, 1, 1))
        self.width = normalise(torch.ones(1, 3, 1, 1)) - self.low
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - self.low) / self.width)


def bundle(*, only_target: bool = False) -> Bundle:
    """Flags a corner above 191 of 255, and moves the trigger's shift back."""
    corner = torch.tensor([0.0, 0, 0, 0, 1])
    detection = Detection(corner, 1.0, only_target)
    return Bundle(
        layers=(Layer("net.features", (5,), detection, Shift(2 * corner, 1.0)),),
        model_class="Victim",
        weights_sha256="0" * 64,
        input=InputDescription("tensor", (3, 8, 8)),
        target=0,
        evidence={},
        held_out={},
        seed=0,
        versions={},
    )


def images(*, corner: int | None = None) -> Images:
    """Eight images of the classes 1, 2 and 3 in turn: quadrants of 120 among 40."""
    labels = torch.arange(8) % 3 + 1
    pixels = torch.full((8, 3, 8, 8), 40, dtype=torch.uint8)
    for i, label in enumerate(labels.tolist()):
        row, column = QUADRANTS[label]
        pixels[i, :, row : row + 4, column : column + 4] = 120
    if corner is not None:
        pixels[:, :, 0, 0] = corner
    return Images(pixels, labels)


class Corner(Attack):
    """A white pixel in the top left corner."""

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        images = images.clone()
        images[:, :, 0, 0] = 1
        return Stamped(images, to_target(labels))


def attacked(shown: Images | None = None) -> Attacked:
    """The victim with its bundle, and images to attack it with."""
    return Attacked(Victim(), bundle(), hold(Corner(), images() if shown is None else shown))
