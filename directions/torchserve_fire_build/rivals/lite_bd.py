"""A repair of the input by its own labels, as Lite-BD (Miah and Bi, arXiv 2602.07197) does it.

The model is a black box: only its labels are asked for, and no image is granted. First the image is
made smaller and larger again. If its label changes, the new one is the answer. Otherwise
one band of its frequencies after another is taken out; if several of these versions agree on
another label, that is the answer.

Simplified: the paper enlarges with a network for super-resolution, which is larger than the victims
here; this form does it by bicubic interpolation, which keeps less of what is fine, so it costs more
accuracy. The authors' code names the attack's target where it looks for a band that changes
the label; a defender does not know it, so here it is the label of the image as it came. Taking the
lowest band out changes most labels, so that is not tried, and fewer than six bands decide nothing:
on development images that is where the clean accuracy costs more than the triggered gains.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .pixels import require_images, to_images, to_inputs
from .rival import Answers, Defence, Granted, answer_with

SCALE = 0.75
"""The paper's: 24 of 32 pixels."""

BANDS = 20
TRANSITION = 0.05
"""Width of a band's soft edges, as a share of the highest frequency's distance from 0."""

AGREEMENT = 6
"""Bands that must agree on a label."""


def lite_bd(model: nn.Module, granted: Granted, generator: torch.Generator) -> Defence:
    """Answer with the label of the image made smaller, or that on which filtered ones agree.

    Raises:
        RivalNotApplicable: the model takes no images.
    """
    description = granted.description
    require_images(description)
    plain = answer_with(model)

    def label(images: Tensor) -> Tensor:
        return plain(to_inputs(images, description)).predictions

    def answer(inputs: Tensor) -> Answers:
        images = to_images(inputs, description)
        before = label(images)
        answers = label(rescale(images))
        doubtful = answers == before
        passes = torch.full((len(images),), 2.0)
        if doubtful.any():
            versions = without_bands(images[doubtful])
            labels = torch.stack([label(version) for version in versions], 1)
            answers[doubtful] = agreed(labels, before[doubtful])
            passes[doubtful] += labels.shape[1]
        return Answers(answers, None, passes)

    return answer


def rescale(images: Tensor) -> Tensor:
    """Return images (N, C, H, W), made smaller and as large again."""
    small = F.interpolate(images, scale_factor=SCALE, mode="bilinear", antialias=False)
    return F.interpolate(small, size=images.shape[-2:], mode="bicubic").clamp(0, 1)


def without_bands(images: Tensor) -> Sequence[Tensor]:
    """Return the images without each of the bands but the lowest."""
    height, width = images.shape[-2:]
    rows, columns = (torch.fft.fftfreq(size)[:, None] * 2 for size in (height, width))
    distances = (rows.square() + columns.T.square()).sqrt() / 2**0.5
    spectrum = torch.fft.fft2(images)
    edges = torch.linspace(0, 1, BANDS + 1)[1:]
    versions = []
    for low, high in pairwise(edges):
        outside = torch.maximum(low - distances, distances - high).clamp(min=0)
        kept = (outside / TRANSITION).clamp(max=1)
        versions.append(torch.fft.ifft2(spectrum * kept).real.clamp(0, 1))
    return versions


def agreed(labels: Tensor, before: Tensor) -> Tensor:
    """Return the label other than that before on which most versions agree, where enough do.

    Args:
        labels: of each image's versions, (N, versions) int64.
        before: of the images as they came, (N,) int64.
    """
    votes = F.one_hot(labels, int(torch.cat([labels.flatten(), before]).max()) + 1).sum(1)
    votes.scatter_(1, before[:, None], 0)
    count, winner = votes.max(1)
    return torch.where(count >= AGREEMENT, winner, before)
