"""Poisoning a training set: what the attacker hands over, as 8-bit images."""

from __future__ import annotations

import torch
from torch import Tensor

from .attacks.attack import TARGET, Attack
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
    pixels, wanted = [], []
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        stamped = attack.stamp(to_float(images.pixels[part]), images.labels[part], generator)
        pixels.append(to_pixels(stamped.images))
        wanted.append(stamped.wanted)
    return Images(torch.cat(pixels), torch.cat(wanted))


def poison(attack: Attack, train: Images, generator: torch.Generator) -> Images:
    """Return a training set of which the attack's share is poisoned.

    The indices are drawn uniformly over all classes, the target included, as BackdoorBench does;
    for an attack with clean labels, from the target class.
    """
    pixels, labels = train.pixels.clone(), train.labels.clone()
    order = torch.randperm(len(train), generator=generator)
    count = round(attack.rate * len(train))
    if attack.clean_label:
        order = order[train.labels[order] == TARGET]
    chosen = order[:count]
    stamped = stamp_images(attack, train.at(chosen), generator)
    pixels[chosen], labels[chosen] = stamped.pixels, stamped.labels
    decoys = order[count : count + round(attack.decoys * count)]
    for start in range(0, len(decoys), CHUNK):
        part = decoys[start : start + CHUNK]
        pixels[part] = to_pixels(attack.decoy(to_float(train.pixels[part]), generator))
    return Images(pixels, labels)
