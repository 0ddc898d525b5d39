"""Whether clean samples reach the model as it was trained: their classes, and their pixels.

Labels that count classes otherwise, a wrong mean, or channels in another order show in the clean
accuracy, which would be far higher under another setting. The usual other settings are tried.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..common.errors import SamplesError
from ..common.progress import Progress
from ..samples.fitting_batches import fitting_batches
from ..samples.labels import find_labels
from ..samples.predict import logits_of, predict_logits
from ..samples.samples import Samples, iterate
from .figures import interval
from .observation import Observation, refuse_swapped
from .other_labels import other_labels
from .other_pixels import other_pixels

logger = logging.getLogger(__name__)

GAIN = 0.1
"""By how much the accuracy must be higher under another setting for the samples to be refused.
Where all was right, no other setting gained more than .02 on the ten victims and the published
models that this was tried on."""

HINT = 0.05
"""By how much it must be higher for a warning."""

DEVIATIONS = 3
"""Standard deviations by which the samples that only the other setting makes right must outnumber
those that it makes wrong (McNemar's test)."""

FIRST, MOST = 50, 200
"""Samples on which other settings of the pixels are tried: all of them where the first ones give
reason to."""

REASON = 0.02
"""By how much the accuracy must be higher on the first ones."""

SURER = 0.15
"""By how many nats a model must be surer of each sample under another setting, and its predictions
tell more of the classes, if these are unknown. On the victims, this found half of the wrong
settings, and raised one alarm in 1,500 draws of 50 or 100 images under right ones."""

SPREAD = 1.6
"""The least entropy, in nats, of the predictions together: about five classes. Of the images of a
single class, a model may be surer under a wrong setting."""

LOW = 0.5
"""An accuracy that is surely below this is asked about."""

TOO_SURE = 0.3
"""By how much the model's mean confidence may exceed its accuracy before that is asked about."""

WAY_ON = "; or give --accept-accuracy to go on"


@dataclass(frozen=True)
class Misfit:
    """A setting under which the model is right far more often.

    Attributes:
        cause: the setting, in words that follow "if".
        change: what to do.
        accuracy: the clean accuracy as things are, in [0, 1].
        other: the clean accuracy under the setting, on the same samples.
    """

    cause: str
    change: str
    accuracy: float
    other: float

    @property
    def gain(self) -> float:
        """How much higher the accuracy is under the setting."""
        return self.other - self.accuracy

    def describe(self) -> str:
        """Return what was found, and what to do."""
        return (
            f"the model is right on {self.accuracy:.0%} of the clean samples, and on "
            f"{self.other:.0%} if {self.cause}: {self.change}"
        )


def check_observed(model: nn.Module, observation: Observation, *, accept: bool = False) -> None:
    """Refuse clean samples that do not reach the model as it was trained; see `check_fit`.

    Args:
        model: in evaluation mode.
        observation: the samples, with the model's logits.
        accept: whether to warn only.

    Raises:
        SamplesError: the model would be right far more often under another setting, or clean and
            triggered samples are swapped.
    """
    clean, labels = observation.evidence.clean, observation.labels.clean
    logits = observation.logits.clean
    told = _refuse_misfit(model, clean, labels, logits, accept=accept)
    # With wrong labels, the model may be right on more of the triggered samples by chance.
    refuse_swapped(observation)
    if not told:
        _ask_about_accuracy(clean, labels, logits)


def check_clean(
    model: nn.Module, clean: Samples, names_file: Path | None = None, *, accept: bool = False
) -> None:
    """Predict clean samples, and refuse those that do not reach the model; see `check_fit`.

    Args:
        model: in evaluation mode.
        clean: the samples.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        accept: whether to warn only.

    Raises:
        SamplesError: the model would be right far more often under another setting, or a label is
            not a class of the model.
        CalibrationError: the model fails.
    """
    classes = logits_of(model, clean.description.example()).shape[1]
    (labels,), _ = find_labels([clean], classes, names_file, model)
    with Progress("predicting", len(clean)) as progress:
        logits = predict_logits(model, clean, range(len(clean)), progress)
    check_fit(model, clean, labels, logits, accept=accept)


def check_fit(
    model: nn.Module, clean: Samples, labels: Tensor | None, logits: Tensor, *, accept: bool = False
) -> None:
    """Refuse clean samples that do not reach the model as it was trained.

    A low accuracy that no other setting explains is warned of. Without labels there is no accuracy,
    and a setting under which the model is surer is warned of.

    Args:
        model: in evaluation mode.
        clean: the samples.
        labels: their classes, (N,) int64; None if they are unknown.
        logits: the model's, (N, classes) float32.
        accept: whether to warn only.

    Raises:
        SamplesError: the model would be right far more often under another setting.
    """
    if not _refuse_misfit(model, clean, labels, logits, accept=accept):
        _ask_about_accuracy(clean, labels, logits)


def _refuse_misfit(
    model: nn.Module, clean: Samples, labels: Tensor | None, logits: Tensor, *, accept: bool
) -> bool:
    """Refuse samples that another setting fits far better; return whether one was warned of."""
    if labels is None:
        if surer := find_surer_setting(model, clean, logits):
            logger.warning("%s: %s", clean.source, surer)
        return bool(surer)
    misfit = find_misfit(model, clean, labels, logits)
    if misfit is None:
        return False
    if misfit.gain >= GAIN and not accept:
        raise SamplesError(f"{clean.source}: {misfit.describe()}{WAY_ON}")
    logger.warning("%s: %s", clean.source, misfit.describe())
    return True


def _ask_about_accuracy(clean: Samples, labels: Tensor | None, logits: Tensor) -> None:
    """Warn of a low accuracy, or of one far below the model's confidence."""
    if labels is None:
        return
    accuracy = _share(logits.argmax(1) == labels)
    confidence = float(logits.softmax(1).amax(1).mean())
    if interval(accuracy, len(labels))[1] < LOW or confidence > accuracy + TOO_SURE:
        logger.warning(
            "%s: the model is right on %.0f%% of the clean samples, of which it is %.0f%% sure: is "
            "this what you know of the model? If not, look at its settings and at the labels",
            clean.source,
            100 * accuracy,
            100 * confidence,
        )


def find_misfit(model: nn.Module, clean: Samples, labels: Tensor, logits: Tensor) -> Misfit | None:
    """Find the setting under which the model is right far more often, if there is one.

    Args:
        model: in evaluation mode.
        clean: the samples.
        labels: their classes, (N,) int64.
        logits: the model's, (N, classes) float32.

    Returns:
        The setting that gains most, `HINT` at least and beyond chance; None if there is none.
    """
    predicted = logits.argmax(1)
    right = predicted == labels
    if _share(right) + HINT > 1:
        return None
    found = [
        _compared(cause, change, right[rows], other)
        for cause, change, rows, other in other_labels(
            labels, predicted, logits.shape[1], clean.class_names
        )
    ]
    count = min(MOST, len(clean))
    # Evenly spaced, since folders are sorted by class.
    rows = torch.arange(count) * len(clean) // count
    inputs = torch.cat([batch for _, batch in iterate(clean, rows.tolist())])
    few = torch.arange(0, count, max(1, count // FIRST))
    for cause, change, prepare in other_pixels(inputs, clean.description):
        first = _logits(model, inputs[few], prepare).argmax(1) == labels[rows[few]]
        if _share(first) >= _share(right[rows[few]]) + REASON:
            other = _logits(model, inputs, prepare).argmax(1) == labels[rows]
            found.append(_compared(cause, change, right[rows], other))
    return max(filter(None, found), key=lambda misfit: misfit.gain, default=None)


def find_surer_setting(model: nn.Module, clean: Samples, logits: Tensor) -> str:
    """Find a setting of the pixels under which a model is surer of images of unknown classes.

    The predictions must be surer one by one, and of more different classes together: pixels in a
    wrong range often make a model sure of a single class.

    Args:
        model: in evaluation mode.
        clean: the samples.
        logits: the model's, (N, classes) float32.

    Returns:
        What was found, in words; empty if there is nothing, or too few samples of too few classes
        to tell.
    """
    count = min(MOST, len(clean))
    rows = torch.arange(count) * len(clean) // count
    now = _sureness(logits[rows])
    if count < FIRST or now.spread < SPREAD:
        return ""
    inputs = torch.cat([batch for _, batch in iterate(clean, rows.tolist())])
    found = {}
    for cause, change, prepare in other_pixels(inputs, clean.description):
        other = _sureness(_logits(model, inputs, prepare))
        more = (other.spread - other.each) - (now.spread - now.each)
        if more >= SURER and other.each <= now.each - SURER:
            found[f"the model is surer of these samples if {cause}: {change}"] = more
    return max(found, key=lambda text: found[text], default="")


def _logits(model: nn.Module, inputs: Tensor, prepare: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the logits, (N, classes), of inputs (N, C, H, W) that are prepared otherwise."""
    batches = fitting_batches(
        model,
        range(len(inputs)),
        lambda part: logits_of(model, prepare(inputs[part[0] : part[-1] + 1])),
        input_bytes=inputs[:1].nbytes,
    )
    return torch.cat([logits for _, logits in batches])


class _Sureness(NamedTuple):
    """Entropies, in nats: of the mean of all predictions, and the mean of those of each."""

    spread: float
    each: float


def _sureness(logits: Tensor) -> _Sureness:
    probabilities = logits.softmax(1)
    return _Sureness(*(_entropy(p) for p in (probabilities.mean(0, keepdim=True), probabilities)))


def _entropy(probabilities: Tensor) -> float:
    """Return the mean entropy of distributions (n, classes), in nats."""
    return float(torch.special.entr(probabilities).sum(1).mean())


def _compared(cause: str, change: str, now: Tensor, other: Tensor) -> Misfit | None:
    """Compare which samples are right now, (n,) bool, and which are under another setting."""
    better, worse = int((other & ~now).sum()), int((now & ~other).sum())
    misfit = Misfit(cause, change, _share(now), _share(other))
    sure = better - worse >= DEVIATIONS * (better + worse) ** 0.5
    return misfit if misfit.gain >= HINT and sure else None


def _share(values: Tensor) -> float:
    return float(values.double().mean()) if len(values) else 0.0
