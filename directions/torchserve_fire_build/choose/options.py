"""Ways to repair one trigger, and how each fares on the held-out samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Layer
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.layers import device_of
from torchserve_fire.repair.repair_handle import RepairHandle

from ..common.step_cache import NO_CACHE, StepCache
from ..samples.both import Both
from ..samples.fitting_batches import fitting_batches
from ..samples.folds import FOLDS
from ..samples.predict import logits_of
from ..samples.samples import bytes_of
from .build_record import BuildRecord
from .candidate_result import result_of
from .held_out import Group, HeldOut


@dataclass(frozen=True)
class Option:
    """A way to repair a trigger.

    Attributes:
        description: what it does where, in a line or two.
        layers: estimated from all samples.
        of_folds: for each fold, the layers estimated without its samples.
    """

    description: Sequence[str]
    layers: tuple[Layer, ...]
    of_folds: Sequence[tuple[Layer, ...]]


@dataclass(frozen=True)
class Outcome:
    """How N samples fare.

    Attributes:
        flagged: which are flagged, (N,) bool.
        rightness: of each sample, as in `CandidateResult`, (N,) float32.
        predictions: the predicted classes, (N,) int64.
        unrepaired: which are still predicted as the class that the attacker wants, (N,) bool.
    """

    flagged: Tensor
    rightness: Tensor
    predictions: Tensor
    unrepaired: Tensor

    def repeated(self, times: int) -> Outcome:
        """Return the outcome of each sample so many times, one round after the other."""
        values = (self.flagged, self.rightness, self.predictions, self.unrepaired)
        return Outcome(*(value.repeat(times) for value in values))

    def answering(self, predictions: Tensor, flagged: Tensor, wanted: int | None) -> Outcome:
        """Return the outcome with other predictions and flags, (times, N) each.

        The rightness stays, which figures do not need.
        """
        predictions, flagged = predictions.flatten(), flagged.flatten()
        return Outcome(flagged, self.rightness, predictions, _unrepaired(predictions, wanted))

    def then(self, rest: Outcome) -> Outcome:
        """Return the outcome if `rest` follows.

        What is not flagged here fares as in `rest`, and so does what is not repaired here but
        flagged there.
        """
        stays = self.flagged & ~(self.unrepaired & rest.flagged)
        return Outcome(
            self.flagged | rest.flagged,
            torch.where(stays, self.rightness, rest.rightness),
            torch.where(stays, self.predictions, rest.predictions),
            torch.where(stays, self.unrepaired, rest.unrepaired),
        )


@dataclass(frozen=True)
class Outcomes:
    """How the held-out samples fare.

    Attributes:
        clean: the clean samples.
        triggered: the triggered samples as they are.
        altered: altered copies of them.
    """

    clean: Outcome
    triggered: Outcome
    altered: Outcome

    def repeated(self, times: int) -> Outcomes:
        """Return the outcome of each sample so many times, one round after the other."""
        return Outcomes(
            self.clean.repeated(times), self.triggered.repeated(times), self.altered.repeated(times)
        )

    def then(self, rest: Outcomes) -> Outcomes:
        """Return the outcomes if `rest` follows."""
        return Outcomes(
            self.clean.then(rest.clean),
            self.triggered.then(rest.triggered),
            self.altered.then(rest.altered),
        )


class OptionRunner:
    """Runs options on held-out samples, each sample with what was estimated without it.

    Args:
        model: in evaluation mode.
        record: of the choice for the trigger as it is.
        altered: altered copies of the held-out triggered samples, and the same clean samples.
        wanted: the class that the attacker wants; None if it is nearly any.
        cache: keeps what each option results in.
    """

    def __init__(
        self,
        model: nn.Module,
        record: BuildRecord,
        altered: HeldOut,
        wanted: int | None,
        cache: StepCache = NO_CACHE,
    ) -> None:
        self._cache = cache
        self._model = model
        self._target = record.target
        self._held_out = record.held_out
        self._altered = altered
        self._wanted = wanted

    def before(self) -> Outcomes:
        """Return how the samples fare without repair."""
        return self._outcomes(
            *(
                (torch.zeros(len(group.folds), dtype=torch.bool), group.logits)
                for group in (*self._held_out, self._altered.triggered)
            )
        )

    def run(self, option: Option, name: str) -> Outcomes:
        """Return how the samples fare with an option, whose results are kept under a name."""
        tensors = self._cache.result(f"option {name}", lambda: self._run(option))
        pairs = [(tensors[f"flagged.{i}"], tensors[f"logits.{i}"]) for i in range(3)]
        return self._outcomes(*pairs)

    def _run(self, option: Option) -> dict[str, Tensor]:
        """Return the flags and the logits of each of the three groups of samples."""
        groups = (*self._held_out, self._altered.triggered)
        flagged = [torch.zeros(len(group.folds), dtype=torch.bool) for group in groups]
        logits = [group.logits.clone() for group in groups]
        example = groups[0].load(torch.tensor([0])).to(device_of(self._model))
        for fold in range(FOLDS):
            layers = option.of_folds[fold]
            with attach_layers(self._model, layers, example, target=self._target) as handle:
                for group, flags, into in zip(groups, flagged, logits, strict=True):

                    def run(
                        part: Sequence[int], group: Group = group, handle: RepairHandle = handle
                    ) -> tuple[Tensor, Tensor]:
                        found = logits_of(self._model, group.load(torch.tensor(part)))
                        return found, handle.verdict.flagged.cpu()

                    rows = self._may_be_flagged(group) & (group.folds == fold)
                    indices = rows.nonzero().flatten().tolist()
                    for part, (found, found_flags) in fitting_batches(
                        self._model, indices, run, input_bytes=bytes_of(group.samples.description)
                    ):
                        into[torch.tensor(part)] = found
                        flags[torch.tensor(part)] = found_flags
        parts = {"flagged": flagged, "logits": logits}
        return {f"{name}.{i}": t for name, each in parts.items() for i, t in enumerate(each)}

    def _may_be_flagged(self, group: Group) -> Tensor:
        if self._wanted is None:
            return torch.ones(len(group.folds), dtype=torch.bool)
        return group.predictions == self._wanted

    def _outcomes(
        self,
        clean: tuple[Tensor, Tensor],
        triggered: tuple[Tensor, Tensor],
        altered: tuple[Tensor, Tensor],
    ) -> Outcomes:
        plain = result_of(self._held_out, Both(clean[1], triggered[1]), self._wanted)
        other = result_of(self._altered, Both(clean[1], altered[1]), self._wanted)
        return Outcomes(
            self._outcome(clean[0], plain.rightness.clean, plain.predictions.clean),
            self._outcome(triggered[0], plain.rightness.triggered, plain.predictions.triggered),
            self._outcome(altered[0], other.rightness.triggered, other.predictions.triggered),
        )

    def _outcome(self, flagged: Tensor, rightness: Tensor, predictions: Tensor) -> Outcome:
        return Outcome(flagged, rightness, predictions, _unrepaired(predictions, self._wanted))


def _unrepaired(predictions: Tensor, wanted: int | None) -> Tensor:
    """Return which predictions are the class that the attacker wants, (N,) bool; none if None."""
    if wanted is None:
        return torch.zeros_like(predictions, dtype=torch.bool)
    return predictions == wanted


def option_of(record: BuildRecord) -> Option:
    """Return the choice of a record as an option."""
    choice, statistics = record.choice, record.statistics
    return Option(
        choice.describe(),
        choice.layers(statistics),
        [choice.layers(statistics, without=fold) for fold in range(FOLDS)],
    )
