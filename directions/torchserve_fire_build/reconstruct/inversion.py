"""Model inversion (Fredrikson et al., CCS 2015): images of each class, recovered from the model.

An input that shows nothing yet is moved down the gradient of the cross-entropy towards a class, and
of its roughness, until the model is confident that it is of the class. What comes out shows what
the model goes by, and looks like no photograph. DeepInspect (Chen et al., IJCAI 2019) searches on
such images for triggers where nobody has others.

Ours are the beginnings (noise with about as much in each octave and as little colour as natural
images have, which also makes the images of a class differ), the optimiser (Adam, on what a sigmoid
moves into the box) and all numbers. Needs no images; costs at most `STEPS` steps
of a batch for each 64 images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from torchserve_fire.format.bundle import InputDescription

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..common.progress import Progress
from ..samples.predict import gradients_of, logits_of
from ..samples.tensor_samples import TensorSamples
from .input_box import input_box
from .subject import BATCH, Subject

COUNT = 400
"""Images to recover, of the classes in turn."""

STEPS = 200
RATE = 0.05
ROUGHNESS = 10.0
"""Weight of the mean squared difference between neighbours, where the box is 1 wide."""

CONFIDENCE = 0.95
"""Probability of the class at which an image is done."""

COLOUR = 0.3
"""Of the first noise, which is grey besides."""


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
        generator: of what the images begin with.
        budget: of the time; when it is spent, there are fewer.
        count: how many to recover.

    Returns:
        Those that the model takes for the class that they were recovered for, as a request could
        carry them; none where the time was over at once.

    Raises:
        CalibrationError: the model takes no images: of tensors nobody knows what they may hold.
    """
    if description.kind != "image":
        raise CalibrationError(
            f"inputs of shape {tuple(description.shape)}: images are recovered from models of "
            "images only, expected clean samples"
        )
    empty = torch.empty(0, *description.shape)
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
    """Return an image for each class of `wanted` (N,), (N, C, H, W), in the box."""
    values = _pink_noise((len(wanted), *shape), generator).requires_grad_()
    optimizer = torch.optim.Adam([values], RATE)
    images, done = torch.empty(values.shape), torch.zeros(len(wanted), dtype=torch.bool)
    for _ in range(STEPS):
        with torch.enable_grad():
            units = values.sigmoid()
            now = subject.box.low + subject.box.width * units
            logits = subject.logits(now)
            losses = F.cross_entropy(logits, wanted, reduction="none") + ROUGHNESS * _rough(units)
            (values.grad,) = gradients_of(losses.sum(), [values])
        # An image that is done stays as it is: more confidence would only take it further off.
        images[~done] = now.detach()[~done]
        confidence = logits.detach().softmax(1).gather(1, wanted[:, None])[:, 0]
        done |= confidence >= CONFIDENCE
        if bool(done.all()) or budget.spent():
            break
        optimizer.step()
    return images


def _pink_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return noise (N, C, H, W) of unit variance, with as much of it in each octave of widths."""
    count, channels, height, width = shape
    noise = torch.zeros(shape)
    # From two pixels on: photographs are blurred by so much.
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
