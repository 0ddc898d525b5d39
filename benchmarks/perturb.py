"""Perturbations by one who knows the model and its bundle, found by projected gradient descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import INPUT_LAYER, Bundle, Detection, Layer
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.corrections import Projection
from torchserve_fire.repair.layers import feature_of, find_layer
from torchserve_fire.repair.overlay import MovingProjection

from .victims.data import Images
from .victims.poison import to_float
from .victims.train import normalise

STEPS = 20
STARTS = 2
CHUNK = 100

Aims = Callable[[Tensor, Tensor], Sequence[Tensor]]
"""What an attacker wants of images (N, 3, H, W) in [0, 1], each to be called a class of (N,) int64.

Returns for each thing that is wanted how far the images are from it, (N,): at most 0 where they
have it.
"""


def perturb(
    aims: Aims, images: Images, wanted: Tensor, radius: int, generator: torch.Generator
) -> Images:
    """Change each pixel value by at most `radius` until all aims are reached.

    Projected gradient descent in L-infinity (Madry et al., arXiv 1706.06083): from the image
    itself, then from a random place for those images that did not come to their aims. It walks on
    whole pixel values, so that what is found is found for the 8 bits that a server receives.

    Args:
        aims: what is wanted.
        images: 8-bit.
        wanted: class of each, (N,) int64.
        radius: of 255.
        generator: of the random starts.

    Returns:
        The images, as they were where nothing had to be changed; those that never reach their aims
        are the last that were tried.
    """
    chunks = [
        _perturb_chunk(aims, pixels, classes, radius, generator)
        for pixels, classes in zip(images.pixels.split(CHUNK), wanted.split(CHUNK), strict=True)
    ]
    return Images(torch.cat(chunks), images.labels)


def _perturb_chunk(
    aims: Aims, pixels: Tensor, wanted: Tensor, radius: int, generator: torch.Generator
) -> Tensor:
    found, left = pixels.clone(), torch.arange(len(pixels))
    for start in range(STARTS):
        whole = pixels[left].int()
        noise = torch.randint(-radius, radius + 1, whole.shape, generator=generator)
        begin = (whole + noise).clamp(0, 255) if start else whole
        found[left], reached = _descend(aims, begin, whole, wanted[left], radius)
        left = left[~reached]
        if not len(left):
            break
    return found


def _descend(
    aims: Aims, begin: Tensor, centre: Tensor, wanted: Tensor, radius: int
) -> tuple[Tensor, Tensor]:
    """Return pixels (N, 3, H, W) uint8 not further than `radius` from the centre, and successes."""
    low, high = (centre - radius).clamp(min=0), (centre + radius).clamp(max=255)
    pixels, reached = begin.clone(), torch.zeros(len(begin), dtype=torch.bool)
    step = max(1, radius // 4)
    for _ in range(STEPS):
        left = (~reached).nonzero().flatten()
        if not len(left):
            break
        images = to_float(pixels[left]).requires_grad_()
        missing = [distance.clamp(min=0) for distance in aims(images, wanted[left])]
        reached[left] = torch.stack(missing).detach().amax(0) == 0
        ascent = sum(_unit_gradient(each, images) for each in missing)
        moved = pixels[left] - step * torch.sign(torch.as_tensor(ascent)).int()
        pixels[left] = torch.maximum(low[left], torch.minimum(high[left], moved))
    return pixels.byte(), reached


def _unit_gradient(missing: Tensor, images: Tensor) -> Tensor:
    """Return each image's gradient, of sum 1 without signs, so that no aim drowns another."""
    (gradient,) = torch.autograd.grad(missing.sum(), images, retain_graph=True)
    size = gradient.abs().flatten(1).sum(1).clamp(min=torch.finfo(gradient.dtype).tiny)
    return gradient / size.view(-1, 1, 1, 1)


def be_called(model: nn.Module) -> Aims:
    """Return the aim to be called the wanted class by a model without repair."""

    def aims(images: Tensor, wanted: Tensor) -> Sequence[Tensor]:
        return [_short_of(model(normalise(images)), wanted)]

    return aims


def pass_unflagged(model: nn.Module, bundle: Bundle) -> Aims:
    """Return the aims to be called the wanted class and to stay below every threshold."""
    layers = detections_of(bundle)
    projections = {
        i: (MovingProjection if detection.anywhere else Projection)(
            detection.weight.expand(layer.feature_shape), detection.threshold
        )
        for i, (layer, detection) in enumerate(layers)
    }

    def aims(images: Tensor, wanted: Tensor) -> Sequence[Tensor]:
        scores: dict[int, Tensor] = {}
        inputs = normalise(images)

        # Inside the pass, before a later layer overwrites the features in place.
        def hook(i: int, module: nn.Module, args: object, output: object) -> None:
            feature = feature_of(output)
            if feature is not None:
                scores[i] = projections[i](feature)

        handles = []
        for i, (layer, _) in enumerate(layers):
            if layer.name == INPUT_LAYER:
                scores[i] = projections[i](inputs)
            else:
                module = find_layer(model, layer.name)
                handles.append(module.register_forward_hook(partial(hook, i)))
        try:
            logits = model(inputs)
        finally:
            for handle in handles:
                handle.remove()
        above = [scores[i] - detection.threshold for i, (_, detection) in enumerate(layers)]
        return [*above, _short_of(logits, wanted)]

    return aims


def survive_repair(model: nn.Module, bundle: Bundle) -> Aims:
    """Return the aim to be called the wanted class though everything counts as flagged.

    Where only what is predicted as the target is flagged, other predictions stay unrepaired.
    """
    layers = [
        layer
        if layer.detection is None
        else replace(layer, detection=replace(layer.detection, threshold=-math.inf))
        for layer in bundle.layers
    ]

    def aims(images: Tensor, wanted: Tensor) -> Sequence[Tensor]:
        inputs = normalise(images)
        with attach_layers(model, layers, inputs[:1].detach(), target=bundle.target):
            return [_short_of(model(inputs), wanted)]

    return aims


def detections_of(bundle: Bundle) -> list[tuple[Layer, Detection]]:
    """Return the layers of a bundle that detect, one for each repair.

    Raises:
        ValueError: none does.
    """
    found = [(layer, layer.detection) for layer in bundle.layers if layer.detection is not None]
    if not found:
        raise ValueError("no layer of the bundle detects, expected one or more")
    return found


def _short_of(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return by how much the wanted class is not the likeliest, (N,); below 0 where it is."""
    ours = logits.gather(1, wanted[:, None])[:, 0]
    others = logits.scatter(1, wanted[:, None], -math.inf)
    return others.amax(1) - ours
