"""Inspection by reconstruction: a suspect is a class that a trigger leads to much more easily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.budget import Budget
from ..measure.anomaly_index import MIN_CLASSES
from ..reconstruct.inversion import recover_images
from ..reconstruct.reconstruction import TriggerSearch, advance_within
from ..reconstruct.screening import SUCCESS, Screening, compare, measure, screen, start
from ..reconstruct.settings import OWN_VALUES, SearchSettings
from ..reconstruct.subject import Subject, gather_subject
from ..samples.class_label import Label
from ..samples.samples import Samples
from .inspection import Inspection

CLEAN = "clean samples"


@dataclass(frozen=True)
class FoundOfClass:
    """What the search for one class's trigger came to.

    Attributes:
        effort: how hard it is to lead inputs to the class.
        success: share of the clean inputs of other classes that is led there.
        picture: of the trigger, (C, 3 H, W) float32.
        inputs: number of clean inputs.
    """

    effort: float
    success: float
    picture: Tensor
    inputs: int


@dataclass(frozen=True)
class ReconstructedTriggers:
    """Anomaly indices of reconstructed triggers (as in Neural Cleanse, Wang et al. 2019).

    A trigger of each class is searched for briefly, on clean samples; without samples, on images
    that are recovered from the model. A class is a suspect if leading inputs to it is much easier
    than to other classes, and if its trigger really leads there.

    It needs 50 clean samples, better some hundred, that are maps (C, H, W). It costs some tens of
    steps of a batch for each class.

    Attributes:
        method: a name in `reconstruct.methods.SEARCH_METHODS`.
        settings: settings of the search.
        label: says what a class is called.
    """

    method: str
    settings: SearchSettings = OWN_VALUES
    label: Label = str

    def __call__(
        self,
        model: nn.Module,
        clean: Samples,
        classes: int,
        generator: torch.Generator,
        budget: Budget,
    ) -> Inspection:
        """Inspect a model; see `inspection.inspection.Inspect`.

        Raises:
            CalibrationError: the model or the samples do not allow the search.
        """
        if classes < MIN_CLASSES:
            return self._silent(f"needs at least {MIN_CLASSES} classes to compare")
        # The seed itself, not a number drawn from it: so a build with this seed compares classes
        # in the same way.
        seed = generator.initial_seed()
        source = CLEAN
        if len(clean) == 0:
            source = "images recovered from the model"
            clean = recover_images(model, clean.description, generator=generator, budget=budget)
        subject = gather_subject(model, clean, clean.description, seed)
        screening = screen(subject, self.method, seed, budget, self.settings)
        if screening.index is None:
            return self._silent(screening.why_no_index)
        pictures = [
            _picture(subject, target, search) for target, search in enumerate(screening.searches)
        ]
        return self._judged(screening, screening.index, pictures, len(subject.inputs), source)

    def by_class(self, clean: Samples, classes: int) -> bool:
        """Whether each class is searched by itself, so that `of_class` can be asked of each."""
        apart = self.settings.method(self.method).start_all is None
        return apart and classes >= MIN_CLASSES and len(clean) > 0

    def of_class(self, subject: Subject, target: int, seed: int) -> FoundOfClass:
        """Search for the trigger of one class, as all classes are searched.

        Args:
            subject: the model, and clean inputs.
            target: the class.
            seed: of the random numbers.

        Raises:
            CalibrationError: the model does not allow the search.
        """
        search = start(self.method, subject, target, seed, settings=self.settings)
        advance_within(search, self.settings.method(self.method).screening, Budget())
        effort, success = measure(subject, target, search)
        picture = _picture(subject, target, search)
        return FoundOfClass(effort, success, picture, len(subject.inputs))

    def of_classes(self, found: Sequence[FoundOfClass]) -> Inspection:
        """Compare the classes, of each of which `of_class` was asked."""
        effort, success = (
            torch.tensor([getattr(each, name) for each in found], dtype=torch.float32)
            for name in ("effort", "success")
        )
        screening = compare(self.method, effort, success, self.settings)
        if screening.index is None:
            return self._silent(screening.why_no_index)
        pictures = [each.picture for each in found]
        return self._judged(screening, screening.index, pictures, found[0].inputs, CLEAN)

    def _judged(
        self,
        screening: Screening,
        index: Tensor,
        pictures: Sequence[Tensor],
        inputs: int,
        source: str,
    ) -> Inspection:
        return Inspection(
            self.method,
            # A class is not suspicious if its trigger does not lead there, whatever its index.
            index=torch.where(screening.success >= SUCCESS, index, index.clamp(max=0)),
            threshold=screening.threshold,
            pictures=torch.stack(list(pictures)),
            notes=(
                f"triggers of {len(index)} classes on {inputs} {source}",
                *_too_weak(screening, index, self.label),
            ),
        )

    def _silent(self, why: str) -> Inspection:
        return Inspection(self.method, notes=(why,))


def _too_weak(screening: Screening, index: Tensor, label: Label) -> list[str]:
    """Return notes on the classes that would stand out if their triggers led there more often."""
    return [
        f"class {label(target)}: anomaly index {index[target]:.2f}, but its trigger leads only "
        f"{screening.success[target]:.0%} there, needs {SUCCESS:.0%}"
        for target in (index > screening.threshold).nonzero().flatten().tolist()
        if screening.success[target] < SUCCESS
    ]


def _picture(subject: Subject, target: int, search: TriggerSearch) -> Tensor:
    """Return the picture of a class's trigger, (C, 3 H, W)."""
    with torch.no_grad():
        stamped = subject.box.legal(search.stamp(subject.others(target)[:1]))
    return picture_of(subject, target, stamped[0])


def picture_of(subject: Subject, target: int, stamped: Tensor) -> Tensor:
    """Return a picture of a class's trigger on a sample of another class, (C, 3 H, W).

    From top to bottom, in values from 0 to 1: the sample; the sample with the trigger; and the
    difference, magnified as far as possible around .5.

    Args:
        subject: the model, and clean inputs.
        target: the class.
        stamped: the first input of another class with the trigger, (C, H, W).
    """
    box = subject.box
    sample = subject.others(target)[0]
    before, after = ((one - box.low) / box.width for one in (sample, stamped.to(subject.device)))
    change = after - before
    magnified = 0.5 + 0.5 * change / change.abs().max().clamp(min=1e-12)
    return torch.cat([before, after, magnified], 1).cpu()
