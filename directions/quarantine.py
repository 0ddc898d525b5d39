"""Cleaning a quarantine: which of the samples that a bundle flagged show its trigger."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .build import MIN_TRIGGERED
from .errors import NoTriggerError, SamplesError
from .metrics import class_list
from .pool.split import Split, split_pool
from .predict import predict_logits
from .progress import Progress
from .sample_views import JoinedSamples, SomeSamples
from .samples import Samples, iterate

MAX_CLEAN = 0.25
"""Share of a group of triggered samples that may be samples which are known to be clean."""


@dataclass(frozen=True)
class Cleaned:
    """A quarantine, of which some samples are kept.

    Attributes:
        samples: N different ones; of equal samples, the first.
        split: of these; flagged are those that are kept, targets the classes that the first
            bundle is for.
        repeated: how many samples of the quarantine equal one of these.
    """

    samples: Samples
    split: Split
    repeated: int

    @property
    def kept(self) -> list[int]:
        """The indices of those that are kept."""
        indices: list[int] = self.split.flagged.nonzero().flatten().tolist()
        return indices

    def describe(self) -> list[str]:
        """Return what was kept, and why the others were not, for a person."""
        targets = self.split.targets
        others = int((~_is_one_of(self.split.predicted, targets)).sum())
        alike = len(self.samples) - len(self.kept) - others
        classes = class_list(targets)
        return [
            f"quarantine: {len(self.samples) + self.repeated} samples",
            f"  kept: {len(self.kept)} that are predicted as {classes} and lie together, apart "
            "from clean ones",
            f"  left out: {alike} that lie with clean ones of {classes}, {others} that are "
            f"predicted as another class, {self.repeated} that are equal to another",
        ]


def clean_quarantine(
    model: nn.Module,
    quarantine: Samples,
    clean: Samples,
    example: Tensor,
    method: str,
    *,
    targets: Sequence[int],
    layers: Sequence[str] | None = None,
    generator: torch.Generator,
) -> Cleaned:
    """Keep the samples of a quarantine that show the trigger of the bundle that flagged them.

    A bundle that is wrong on one clean sample in a hundred fills half of its quarantine with such
    where one request in a hundred is triggered. Only samples that are predicted as its target can
    be its trigger's. Together with the clean samples, which show what the class looks like, the
    quarantine is split as a mixed pool is (`directions.pool.split`); its members of the triggered
    group are kept.

    It takes what splitting a pool of all these samples takes.

    Args:
        model: in evaluation mode, unrepaired.
        quarantine: what the bundle flagged, nobody knows how rightly.
        clean: clean samples, some of them predicted as the targets.
        example: one input, (1, *input shape).
        method: a name in `directions.pool.methods.METHODS`.
        targets: the classes that the bundle is for, of each of which samples must be kept: a bundle
            that is built from what is kept takes the place of the first.
        layers: names of the layers to look at, in the order in which they run; None to find them.
        generator: of the random numbers.

    Raises:
        NoTriggerError: of a target there are too few samples, or they do not hold together.
        SamplesError: samples of the quarantine and clean ones differ in shape.
        CalibrationError: the model fails on the samples, or no layers are found.
        AttachError: it has no such layer.
    """
    shapes = [tuple(samples.load([0]).shape[1:]) for samples in (quarantine, clean)]
    if shapes[0] != shapes[1]:
        raise SamplesError(
            f"{quarantine.source}: inputs of shape {shapes[0]}, expected {shapes[1]} as in "
            f"{clean.source}"
        )
    samples = SomeSamples(quarantine, _first_of_equal(quarantine))
    with Progress("reading the quarantine", len(samples)) as progress:
        logits = predict_logits(model, samples, range(len(samples)), progress)
    predicted = logits.argmax(1)
    for target in targets:
        _refuse_few(int((predicted == target).sum()), "predicted as", target, samples)
    members = _is_one_of(predicted, targets).nonzero().flatten()
    pool = JoinedSamples(SomeSamples(samples, members.tolist()), clean)
    try:
        split = split_pool(
            model, pool, example, method, layers=layers, clean=clean, generator=generator
        )
    except NoTriggerError:
        raise _no_trigger(samples, targets) from None
    known = torch.arange(len(pool)) >= len(members)
    for target in targets:
        group = split.flagged & (split.predicted == target)
        if not bool(group.any()) or float(known[group].double().mean()) > MAX_CLEAN:
            raise _no_trigger(samples, [target])
        _refuse_few(int((group & ~known).sum()), "apart from clean ones of", target, samples)
    scores = torch.zeros(len(samples), dtype=split.scores.dtype)
    kept = torch.zeros(len(samples), dtype=torch.bool)
    scores[members], kept[members] = split.scores[~known], split.flagged[~known]
    found = Split(predicted, scores, kept, tuple(targets))
    return Cleaned(samples, found, len(quarantine) - len(samples))


def _first_of_equal(samples: Samples) -> list[int]:
    """Return the indices of samples that differ: what is sent again is no new evidence."""
    first: dict[bytes, int] = {}
    for indices, batch in iterate(samples, range(len(samples))):
        for i, sample in zip(indices, batch, strict=True):
            first.setdefault(hashlib.sha256(sample.numpy().tobytes()).digest(), i)
    return list(first.values())


def _is_one_of(predicted: Tensor, targets: Sequence[int]) -> Tensor:
    return torch.isin(predicted, torch.tensor(list(targets)))


def _refuse_few(count: int, how: str, target: int, samples: Samples) -> None:
    if count < MIN_TRIGGERED:
        raise NoTriggerError(
            f"{samples.source}: {count} of {len(samples)} different samples are {how} class "
            f"{target}, expected at least {MIN_TRIGGERED} to build from"
        )


def _no_trigger(samples: Samples, targets: Sequence[int]) -> NoTriggerError:
    return NoTriggerError(
        f"{samples.source}: the samples predicted as {class_list(targets)} do not lie together, "
        "apart from clean ones: they show no trigger"
    )
