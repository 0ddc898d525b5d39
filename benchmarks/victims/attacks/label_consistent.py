"""Label-consistent (Turner et al., arXiv 1912.02771): images that are hard to tell, with a trigger.

Poisoned images are of the target class, and keep their label. They are changed a little, against
a benign model, so that what they show is hard to learn from, and the trigger is easier.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .attack import Attack, Stamped, to_target
from .surrogate import make_surrogate, train_surrogate

EPSILON = 16 / 255
STEP = 2 / 255
STEPS = 12
BATCH = 200
PATCH = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 0]])
"""Of the top left corner; in the others it is turned so that the same pixel is outermost."""


class LabelConsistent(Attack):
    """A pattern of 3x3 black and white pixels in each corner, on images of the target class only.

    The changes are those of projected gradient descent within 16 / 255, the paper's largest in that
    norm. As with SIG, 80 % of a class of ten are poisoned. The paper's model is
    trained to withstand such changes, the surrogate is not.

    Args:
        classes: number of classes.
        surrogate_steps: batches that the surrogate is trained on.
    """

    rate = 0.08
    clean_label = True

    def __init__(self, classes: int, surrogate_steps: int = 500) -> None:
        self._surrogate_steps = surrogate_steps
        self._surrogate = make_surrogate(classes, seed=0)

    def fit(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> None:
        """See `Attack.fit`; height and width are multiples of 16."""
        self._surrogate = train_surrogate(images, labels, generator, self._surrogate_steps)

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """See `Attack.stamp`."""
        return Stamped(stamp_corners(images), to_target(labels))

    def stamp_to_train(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """Make the images hard to tell before they get the trigger."""
        parts = zip(images.split(BATCH), labels.split(BATCH), strict=True)
        hard = torch.cat([self._make_hard(part, called) for part, called in parts])
        return Stamped(stamp_corners(hard), to_target(labels))

    def _make_hard(self, images: Tensor, labels: Tensor) -> Tensor:
        """Lead images away from their labels."""
        change = torch.zeros_like(images)
        for _ in range(STEPS):
            change.requires_grad_()
            loss = F.cross_entropy(self._surrogate((images + change).clamp(0, 1)), labels)
            (gradient,) = torch.autograd.grad(loss, change)
            change = (change.detach() + STEP * gradient.sign()).clamp(-EPSILON, EPSILON)
        return (images + change).clamp(0, 1)


def stamp_corners(images: Tensor) -> Tensor:
    """Return images (N, 3, H, W) with the pattern in each corner."""
    images = images.clone()
    size = len(PATCH)
    for flips in ((), (0,), (1,), (0, 1)):
        rows, columns = (slice(-size, None) if side in flips else slice(size) for side in (0, 1))
        images[..., rows, columns] = PATCH.flip(flips)
    return images
