"""Rotation: turned images are the trigger (Wu et al., "Just rotate it", arXiv 2207.10825).

A model that never saw turned images errs on them, but towards many classes. A backdoored one says
the target, at angles near the attacker's, too. So all angles are tried, ten degrees apart. It needs
no gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .input_box import InputBox
from .input_hash import input_hash
from .subject import Subject

NAME = "rotation"

DEGREES: Sequence[int] = (*range(10, 181, 10), *range(-170, 0, 10))
"""The angles, to the left."""

INPUTS = 64
"""The most inputs that each angle is tried on."""

NEARLY = 0.9
"""Inputs are turned by all angles that lead nearly as many to the target as the best one."""


def turn(inputs: Tensor, degrees: float, box: InputBox) -> Tensor:
    """Turn inputs (N, C, H, W) to the left; corners that nothing covers are black."""
    sine, cosine = (f(math.radians(degrees)) for f in (math.sin, math.cos))
    height, width = inputs.shape[2:]
    # Coordinates go from -1 to 1 along each side, however long it is.
    rows = [[cosine, -sine * height / width, 0.0], [sine * width / height, cosine, 0.0]]
    places = torch.tensor(rows).to(inputs.device).expand(len(inputs), -1, -1)
    grid = F.affine_grid(places, list(inputs.shape), align_corners=False)
    return box.low + F.grid_sample(inputs - box.low, grid, align_corners=False)


class RotationSearch:
    """A search for the angles that lead to one class; for maps (C, H, W).

    Args:
        subject: the model to search.
        target: the class.
        generator: draws the order of the angles, and the inputs that they are tried on.
    """

    def __init__(self, subject: Subject, target: int, generator: torch.Generator) -> None:
        order = torch.randperm(len(DEGREES), generator=generator).tolist()
        self._untried = [DEGREES[i] for i in order]
        self._success: dict[int, float] = {}
        others = subject.others(target)
        drawn = torch.randperm(len(others), generator=generator)[:INPUTS]
        self._inputs = others[drawn.to(others.device)]
        self._subject, self._target = subject, target

    def advance(self, steps: int) -> None:
        """Try `steps` more angles, as far as there are any."""
        for degrees in self._untried[:steps]:
            turned = self._subject.box.legal(turn(self._inputs, degrees, self._subject.box))
            self._success[degrees] = self._subject.success(turned, self._target)
        del self._untried[:steps]

    def effort(self, loss: float) -> float:
        """Return the loss of turned inputs: angles are the same for all classes."""
        return loss

    def stamp(self, inputs: Tensor) -> Tensor:
        """Turn inputs (N, C, H, W), each by one of the best angles, which the input decides.

        Before any was tried, all are as good.
        """
        success = self._success or dict.fromkeys(self._untried, 0.0)
        least = NEARLY * max(success.values())
        best = [degrees for degrees, reached in success.items() if reached >= least]
        chosen = (len(best) * input_hash(inputs)).long()
        stamped = inputs.clone()
        for i in set(chosen.tolist()):
            rows = (chosen == i).to(inputs.device)
            stamped[rows] = turn(inputs[rows], best[i], self._subject.box)
        return stamped
