"""TABOR (Guo et al. 2019, arXiv 1908.01763): Neural Cleanse, regularised towards real triggers.

Not only a backdoor's patch leads inputs to a class. Four other kinds of patches do: overly large
ones; scattered ones; ones that block an input's content; and ones that work only overlaid with the
content, not alone. A regulariser for each kind makes it costly: the elastic net of the mask, and of
the pattern outside it; the squared differences between neighbours, of the same two; the
cross-entropy of inputs whose masked place is black, towards their own classes; and the
cross-entropy of the pattern alone, on black, towards the target.

The regularisers are the paper's; its weights are not known to us. Two weights are as in public
implementations: that of the overlaid pattern, .01, and those of the neighbours, in proportion to
that of the mask's elastic net. Ours: the weight of blocking, which these implementations leave out,
and that of the pattern outside the mask. They have it at ten times the mask's. It is then cheaper
to cover a place than to leave the pattern there, so masks grow. Also ours: the weight of the mask's
elastic net, and the next three with it, grow and fall as in Neural Cleanse; and classes are
compared by the logarithm of the mask's size instead of the paper's metric.

It needs what Neural Cleanse needs. A step costs twice as much, since inputs with a black place are
run, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .neural_cleanse import NeuralCleanse
from .patch import Patch
from .subject import Subject, loss_towards


@dataclass(frozen=True)
class Weights:
    """Weights of the regularisers; 0 leaves a regulariser out.

    The first four are in units of the weight that grows and falls.

    Attributes:
        mask_size: weight of the mask's elastic net.
        pattern_size: weight of the elastic net of the pattern outside the mask.
        mask_roughness: weight of the mask's squared differences between neighbours.
        pattern_roughness: weight of those of the pattern outside the mask.
        blocking: weight of the loss of inputs without the masked place.
        overlaying: weight of the loss of the pattern alone.
    """

    mask_size: float = 1.0
    pattern_size: float = 0.1
    mask_roughness: float = 0.1
    pattern_roughness: float = 0.01
    blocking: float = 0.01
    overlaying: float = 0.01


class Tabor(NeuralCleanse):
    """A regularised search for a mask and a pattern; for maps (C, H, W).

    Args:
        subject: the model to search.
        target: the class to lead to.
        generator: source of the random numbers.
        weights: weights of the regularisers.
    """

    def __init__(
        self,
        subject: Subject,
        target: int,
        generator: torch.Generator,
        weights: Weights = Weights(),
    ) -> None:
        super().__init__(subject, target, generator)
        self._weights = weights

    def _penalty(self, patch: Patch, weight: float, inputs: Tensor, predicted: Tensor) -> Tensor:
        box, weights = self._subject.box, self._weights
        outside = (1 - patch.mask) * (patch.pattern - box.low) / box.width
        penalty = weight * (
            weights.mask_size * elastic_net(patch.mask)
            + weights.pattern_size * elastic_net(outside)
            + weights.mask_roughness * roughness(patch.mask)
            + weights.pattern_roughness * roughness(outside)
        )
        alone = patch.put_on(box.low.expand_as(patch.pattern)[None])
        overlaying = loss_towards(self._target, self._subject.logits(alone))
        blocked = Patch(patch.mask, box.low).put_on(inputs)
        blocking = F.cross_entropy(self._subject.logits(blocked), predicted.to(inputs.device))
        return penalty + weights.blocking * blocking + weights.overlaying * overlaying


def elastic_net(values: Tensor) -> Tensor:
    """Return the sum of magnitudes and squares of values (C, H, W), averaged over C, ()."""
    return (values.abs() + values.square()).sum() / len(values)


def roughness(values: Tensor) -> Tensor:
    """Return the sum of squared differences between neighbours of values (C, H, W), likewise."""
    return (values.diff(dim=1).square().sum() + values.diff(dim=2).square().sum()) / len(values)
