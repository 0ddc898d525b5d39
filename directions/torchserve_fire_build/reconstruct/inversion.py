"""Model inversion (Fredrikson et al., CCS 2015): images of each class, recovered from the model.

A noise image is moved down the gradient of two losses, the cross-entropy towards a class and the
roughness, until the model is confident that the image is of the class. The result shows what the
model looks for; it does not look like a photograph. DeepInspect (Chen et al., IJCAI 2019) searches
for triggers on such images if no others are available.

Ours: the noise (about as much of it in each octave, and as little colour, as in natural images; it
also makes the images of a class differ), the optimiser (Adam, on values that a sigmoid moves into
the box), and all numbers. It needs no images. It costs at most `STEPS` steps of a batch for every
64 images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.repair.layers import device_of

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..samples.predict import gradients_of, logits_of
from ..samples.tensor_samples import TensorSamples
from .input_box import input_box
from .subject import BATCH, Subject

COUNT = 400
"""Number of images to recover; the classes take turns."""

STEPS = 200
RATE = 0.05
ROUGHNESS = 10.0
"""Weight of the mean squared difference between neighbours, if the box is 1 wide."""

CONFIDENCE = 0.95
"""An image is done when the probability of its class reaches this."""

COLOUR = 0.3
"""Standard deviation of the noise's colour, relative to that of its grey."""


def recover_images(
    model: nn.Module,
    description: InputDescription,
    *,
    generator: torch.Generator,
    budget: Budget,
    count: int = COUNT,
) -> TensorSamples:
    """Recover images of all classes from a model.

    Args:
        model: in evaluation mode.
        description: what the model takes.
        generator: source of the random numbers.
        budget: time limit; when it is spent, fewer images are returned.
        count: number of images to recover.

    Returns:
        The images that the model predicts as the class that they were recovered for, as a request
        could carry them; none if the time was over at once.

    Raises:
        CalibrationError: the model does not take images; the range of other tensors is unknown.
    """
    if description.kind != "image":
        raise CalibrationError(
            f"inputs of shape {tuple(description.shape)}: images are recovered from models of "
            "images only, expected clean samples"
        )
    empty = torch.empty(0, *description.shape, device=device_of(model))
    box = input_box(description, empty)
    classes = logits_of(model, description.example()).shape[1]
    subject = Subject(model, empty, torch.empty(0, dtype=torch.int64), classes, box)
    recovered = [empty]
    with Progress("recovering images from the model", count) as progress:
        for wanted in torch.split(torch.arange(count) % classes, BATCH):
            if budget.spent():
                break
            images = box.legal(_invert(subject, description.shape, wanted, generator, budget))
            recovered.append(images[logits_of(model, images).argmax(1) == wanted])
            progress.advance(len(wanted))
    return TensorSamples(
        torch.cat(recovered), source="images recovered from the model", description=description
    )


def _invert(
    subject: Subject,
    shape: tuple[int, ...],
    wanted: Tensor,
    generator: torch.Generator,
    budget: Budget,
) -> Tensor:
    """Return an image, in the box, for each class of `wanted` (N,): (N, C, H, W)."""
    values = _pink_noise((len(wanted), *shape), generator).to(subject.device).requires_grad_()
    optimizer = torch.optim.Adam([values], RATE)
    wanted = wanted.to(subject.device)
    images, done = torch.empty_like(values), torch.zeros_like(wanted, dtype=torch.bool)
    for _ in range(STEPS):
        with torch.enable_grad():
            units = values.sigmoid()
            now = subject.box.low + subject.box.width * units
            logits = subject.logits(now)
            losses = F.cross_entropy(logits, wanted, reduction="none") + ROUGHNESS * _rough(units)
            (values.grad,) = gradients_of(losses.sum(), [values])
        # An image that is done stays as it is: more confidence would make it less natural.
        images = torch.where(done.view(-1, 1, 1, 1), images, now.detach())
        confidence = logits.detach().softmax(1).gather(1, wanted[:, None])[:, 0]
        done |= confidence >= CONFIDENCE
        if bool(done.all()) or budget.spent():
            break
        optimizer.step()
    return images


def _pink_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return noise (N, C, H, W) of unit variance, with equal parts for each octave of widths."""
    count, channels, height, width = shape
    noise = torch.zeros(shape)
    # Widths start at two pixels: photographs are blurred by as much.
    for octave in range(1, max(height, width).bit_length()):
        size = (-(-height // 2**octave), -(-width // 2**octave))
        grey = torch.randn(count, 1, *size, generator=generator)
        colour = COLOUR * torch.randn(count, channels, *size, generator=generator)
        noise += F.interpolate(grey + colour, size=(height, width), mode="bilinear")
    return noise / noise.std((1, 2, 3), keepdim=True)


def _rough(images: Tensor) -> Tensor:
    """Return the mean squared difference between neighbours of images (N, C, H, W), (N,)."""
    down, right = images.diff(dim=2).square(), images.diff(dim=3).square()
    return down.mean((1, 2, 3)) + right.mean((1, 2, 3))
