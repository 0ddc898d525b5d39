"""Poisoning a training set: what the attacker hands over, as 8-bit images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .attacks.attack import TARGET, Attack, Stamped
from .data import Images

CHUNK = 2000


def to_float(pixels: Tensor) -> Tensor:
    """Return uint8 pixels as float32 in [0, 1]."""
    return pixels.float() / 255


def to_pixels(images: Tensor) -> Tensor:
    """Return float images in [0, 1] as 8-bit pixels: what a file holds and a server receives."""
    return (images.clamp(0, 1) * 255).round().byte()


def stamp_images(attack: Attack, images: Images, generator: torch.Generator) -> Images:
    """Return the images with the trigger; their labels are what the attacker wants."""
    return _stamp_in_parts(attack.stamp, images, generator)


def _stamp_in_parts(
    stamp: Callable[[Tensor, Tensor, torch.Generator], Stamped],
    images: Images,
    generator: torch.Generator,
) -> Images:
    pixels, wanted = [], []
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        stamped = stamp(to_float(images.pixels[part]), images.labels[part], generator)
        pixels.append(to_pixels(stamped.images))
        wanted.append(stamped.wanted)
    return Images(torch.cat(pixels), torch.cat(wanted))


def poison(attack: Attack, train: Images, generator: torch.Generator) -> Images:
    """Return a training set of which the attack's share is poisoned.

    The indices are drawn uniformly over all classes, the target included, as BackdoorBench does;
    for an attack with clean labels, from the target class; for one with a source class, from that.
    """
    pixels, labels = train.pixels.clone(), train.labels.clone()
    order = torch.randperm(len(train), generator=generator)
    count = round(attack.rate * len(train))
    if attack.clean_label:
        order = order[train.labels[order] == TARGET]
    others = order[count:]
    if attack.source is not None:
        of_source = train.labels[order] == attack.source
        order, others = order[of_source], order[~of_source]
    chosen = order[:count]
    stamped = _stamp_in_parts(attack.stamp_to_train, train.at(chosen), generator)
    pixels[chosen], labels[chosen] = stamped.pixels, stamped.labels
    decoys = others[: round(attack.decoys * count)]
    for start in range(0, len(decoys), CHUNK):
        part = decoys[start : start + CHUNK]
        pixels[part] = to_pixels(attack.decoy(to_float(train.pixels[part]), generator))
    return Images(pixels, labels)
