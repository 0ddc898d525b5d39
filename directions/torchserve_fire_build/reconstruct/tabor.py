"""TABOR (Guo et al. 2019, arXiv 1908.01763): Neural Cleanse, regularised towards real triggers.

Besides the patch of a backdoor, others lead inputs to a class: overly large ones; scattered ones;
ones that block what an input shows; and ones that are overlaid with it, but mean nothing alone. A
regulariser each makes these dear. Of the mask, and of the pattern outside it, the elastic net and
the squared differences between neighbours; the cross-entropy of the inputs with the masked place
black towards their own classes; that of the pattern alone, on black, towards the target.

The regularisers are the paper's; its weights are not known to us. As in public implementations are
the .01 of the overlaid pattern and, in proportion to that of the mask's elastic net, the weights of
the neighbours. Ours are the weight of blocking, which these leave out, and that of the pattern
outside: at ten times the mask's, as they have it, it is cheaper to cover a place than to leave the
pattern there, and masks grow. Ours is also that the weight of the mask's elastic net grows and
falls as in Neural Cleanse, and the next three with it, and that classes are compared by the
logarithm of the mask's size in place of the paper's metric.

Needs what Neural Cleanse needs; a step costs twice as much, for the inputs with the place black.
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
    """Of the regularisers; 0 leaves one out.

    Attributes:
        mask_size: of the mask's elastic net, in units of the weight that grows and falls; likewise
            the next three.
        pattern_size: of the pattern's outside the mask.
        mask_roughness: of the mask's squared differences between neighbours.
        pattern_roughness: of the pattern's outside the mask.
        blocking: of the loss of the inputs without the masked place.
        overlaying: of the loss of the pattern alone.
    """

    mask_size: float = 1.0
    pattern_size: float = 0.1
    mask_roughness: float = 0.1
    pattern_roughness: float = 0.01
    blocking: float = 0.01
    overlaying: float = 0.01


class Tabor(NeuralCleanse):
    """A mask and a pattern in search, regularised; for maps (C, H, W).

    Args:
        subject: what to search.
        target: the class to lead to.
        generator: of the batches.
        weights: of the regularisers.
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
        box, of = self._subject.box, self._weights
        outside = (1 - patch.mask) * (patch.pattern - box.low) / box.width
        penalty = weight * (
            of.mask_size * elastic_net(patch.mask)
            + of.pattern_size * elastic_net(outside)
            + of.mask_roughness * roughness(patch.mask)
            + of.pattern_roughness * roughness(outside)
        )
        alone = patch.put_on(box.low.expand_as(patch.pattern)[None])
        overlaying = loss_towards(self._target, self._subject.logits(alone))
        blocked = Patch(patch.mask, box.low).put_on(inputs)
        blocking = F.cross_entropy(self._subject.logits(blocked), predicted)
        return penalty + of.blocking * blocking + of.overlaying * overlaying


def elastic_net(values: Tensor) -> Tensor:
    """Return the sum of the values' (C, H, W) magnitudes and squares, on average over C."""
    return (values.abs() + values.square()).sum() / len(values)


def roughness(values: Tensor) -> Tensor:
    """Return the sum of squared differences between neighbours of maps (C, H, W), likewise."""
    return (values.diff(dim=1).square().sum() + values.diff(dim=2).square().sum()) / len(values)
