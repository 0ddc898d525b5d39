"""Other ways to prepare images: normalised otherwise, in another range, other channels first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from torchserve_fire.format.bundle import InputDescription

OtherPixels = tuple[str, str, Callable[[Tensor], Tensor]]
"""A way, in words that follow "if"; what to do; and what prepares images (n, C, H, W) so that the
model got as they are."""

Normalisation = tuple[str, tuple[float, ...], tuple[float, ...]]
"""A mean and a standard deviation, and what they are called."""

NORMALISATIONS: dict[int, tuple[Normalisation, ...]] = {
    3: (
        ("not normalised", (0.0,) * 3, (1.0,) * 3),
        ("normalised as for ImageNet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("normalised as for CIFAR-10", (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
        ("scaled to -1 to 1", (0.5,) * 3, (0.5,) * 3),
        ("not divided by 255", (0.0,) * 3, (1 / 255,) * 3),
    ),
    1: (
        ("not normalised", (0.0,), (1.0,)),
        ("normalised as for MNIST", (0.1307,), (0.3081,)),
        ("scaled to -1 to 1", (0.5,), (0.5,)),
        ("not divided by 255", (0.0,), (1 / 255,)),
    ),
}
"""The usual ones, by the number of channels."""


COMPARED = 16
"""Images that show whether a way is the one that they were prepared in."""


def other_pixels(inputs: Tensor, description: InputDescription) -> Iterator[OtherPixels]:
    """Yield other ways to prepare images.

    Args:
        inputs: images as the model gets them now, (N, C, H, W) float32; others yield nothing.
        description: of the inputs.

    Yields:
        All ways that differ from how they are prepared now.
    """
    if inputs.dim() != 4 or not inputs.is_floating_point():
        return
    channels = inputs.shape[1]
    pixels = _pixels_of(inputs, description)
    for name, mean, std in NORMALISATIONS.get(channels, ()):
        if pixels is None:
            break
        prepare = _normalised(pixels, mean, std)
        if not torch.allclose(prepare(inputs[:COMPARED]), inputs[:COMPARED], atol=1e-4):
            yield f"images are {name}", _settings(mean, std), prepare
    if channels == 3:
        yield (
            "blue comes first in them (BGR)",
            "the model was trained on BGR, as OpenCV reads images: use a handler that swaps the "
            "channels",
            lambda images: images.flip(1),
        )


def _pixels_of(inputs: Tensor, description: InputDescription) -> Callable[[Tensor], Tensor] | None:
    """Return what gives images their pixels from 0 to 1; None if that is not known."""
    if description.kind == "image":
        return lambda images: images * _column(description.std) + _column(description.mean)
    least, most = float(inputs.min()), float(inputs.max())
    if least < 0 or most > 255:
        return None
    return lambda images: images if most <= 1 else images / 255


def _normalised(
    pixels: Callable[[Tensor], Tensor], mean: tuple[float, ...], std: tuple[float, ...]
) -> Callable[[Tensor], Tensor]:
    return lambda images: (pixels(images) - _column(mean)) / _column(std)


def _settings(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    shown = [", ".join(f"{value:.4g}" for value in values) for values in (mean, std)]
    return (
        f"if the model was trained so, set mean: [{shown[0]}] and std: [{shown[1]}] (handler: in "
        "model-config.yaml, or a handler of your own)"
    )


def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1)
