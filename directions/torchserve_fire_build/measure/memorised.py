"""Whether a model knows the calibration images by heart, so that all figures on them are too good.

Two things together tell images that a model was trained on from new ones:

- Its confidence is justified on the images. On new images, a model that knows its training images
  by heart is too sure: its loss is higher than its own probabilities say.
- The images need not be moved far for the model to be much less sure of their classes. A model that
  was trained on moved images does not mind, and knows new images about as well.

Neither alone tells. With few mistakes, or few images, neither is known well; so there must be
`FEWEST` images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..samples.fitting_batches import fitting_batches
from ..samples.predict import logits_of
from .observation import Observation

FEWEST, MOST = 100, 200
"""How many images are looked at. With fewer, new images are often taken for known ones."""

PART_OF_SIDE = 16
"""Images are moved by this part of their height and width: 2 of 32 pixels."""

SURPRISE = 2.5
"""By how many standard deviations the loss may be higher than expected, if the confidence is
justified. On 200 images, the published victims of CIFAR-10 have -2.7 to 2.6 on training images, and
4.4 to 10.2 on test images."""

LESS_SURE = 0.55
"""By how much less sure the model must be if the images are moved, in standard deviations. The same
victims are less sure by .63 to .84 of training images, and by .39 to .47 of test images; victims
that were trained on moved images, by .06 to .32 of both."""


@dataclass(frozen=True)
class Memorised:
    """Images that a model seems to know by heart.

    Attributes:
        accuracy: the model's accuracy on these images, in [0, 1].
        accuracy_moved: its accuracy if the images are moved, in [0, 1].
        pixels: by how many pixels they are moved, up, down, left and right.
    """

    accuracy: float
    accuracy_moved: float
    pixels: int

    def describe(self) -> str:
        """Return a line that says what to expect."""
        moved = "1 pixel" if self.pixels == 1 else f"{self.pixels} pixels"
        lost = 100 * (self.accuracy - self.accuracy_moved)
        return (
            "was the model trained on these calibration images? It is right on "
            f"{self.accuracy:.1%} of them, and on {self.accuracy_moved:.1%} if they are moved by "
            f"{moved}: if it was, expect accuracies about {lost:.1f} points lower on new images"
        )

    def to_json(self) -> dict[str, float]:
        """Return the numbers as a bundle holds them."""
        return asdict(self)


def find_memorised(model: nn.Module, observation: Observation) -> Memorised | None:
    """Find out whether a model knows the clean calibration images by heart.

    The model runs on up to `MOST` images, moved in four directions.

    Args:
        model: in evaluation mode.
        observation: the samples, with the model's logits.

    Returns:
        What was found; None if the model seems not to know the images, if they are too few or have
        no labels, or if the samples are no images, or only small ones.

    Raises:
        CalibrationError: the model fails.
    """
    clean, labels = observation.evidence.clean, observation.labels.clean
    if clean.description.kind != "image" or labels is None or len(clean) < FEWEST:
        return None
    pixels = min(clean.description.shape[-2:]) // PART_OF_SIDE
    if pixels == 0:
        return None
    # Evenly spaced, since folders are sorted by class.
    count = min(MOST, len(clean))
    rows = torch.arange(count) * len(clean) // count
    logits, labels = observation.logits.clean[rows], labels[rows]
    if not _confidence_is_justified(logits, labels):
        return None

    def run(part: Sequence[int]) -> Tensor:
        images = clean.load(part)
        return torch.stack([logits_of(model, moved) for moved in _moved(images, pixels)])

    after = [logits for _, logits in fitting_batches(model, rows.tolist(), run)]
    moved_logits = torch.cat(after, 1)  # (directions, images, classes)
    less_sure = _log_odds(logits, labels) - _log_odds(moved_logits, labels).mean(0)
    if float(less_sure.mean()) <= LESS_SURE * float(less_sure.std()):
        return None
    found = Memorised(_accuracy(logits, labels), _accuracy(moved_logits, labels), pixels)
    return found if found.accuracy_moved < found.accuracy else None


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(-1) == labels).double().mean())


def _confidence_is_justified(logits: Tensor, labels: Tensor) -> bool:
    """Return whether the loss is about what the model's own probabilities let one expect.

    This is Spiegelhalter's test (Probabilistic prediction in patient management and clinical
    trials, 1986), of the log loss in place of the squared error.
    """
    logs = logits.log_softmax(1)
    loss = functional.nll_loss(logs, labels, reduction="sum")
    expected = -(logs.exp() * logs).sum(1)
    variance = (logs.exp() * logs**2).sum(1) - expected**2
    return bool(loss - expected.sum() <= SURPRISE * variance.sum().sqrt())


def _log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the log-odds of the true classes, (..., N), from logits (..., N, classes)."""
    own = functional.one_hot(labels, logits.shape[-1]).bool()
    rest = logits.masked_fill(own, -torch.inf).logsumexp(-1)
    return (logits * own).sum(-1) - rest


def _moved(images: Tensor, pixels: int) -> Iterator[Tensor]:
    """Yield images (n, C, H, W) moved in four directions; their edges are filled by reflection."""
    height, width = images.shape[-2:]
    wide = functional.pad(images, (pixels,) * 4, mode="reflect")
    for down, right in ((0, pixels), (2 * pixels, pixels), (pixels, 0), (pixels, 2 * pixels)):
        yield wide[..., down : down + height, right : right + width]
