"""From clean samples alone to a bundle: triggers are searched for, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.repair.attach_layers import attach_layers

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..reconstruct.find_triggers import FoundTriggers, find_triggers
from ..reconstruct.methods import AFFORDABLE, OTHERWISE
from ..reconstruct.reconstruction import Reconstruction
from ..reconstruct.settings import OWN_VALUES, SearchSettings
from ..reconstruct.stamped_samples import stamp_samples
from ..reconstruct.success_after_repair import success_after_repair
from ..samples.kept import keep_decoded
from ..samples.samples import Samples
from .from_samples import BuildOptions, as_loaded, build_from_evidence
from .join_bundles import join_bundles
from .result import BuildResult

logger = logging.getLogger(__name__)

FURTHER_INDEX = 5.0
"""Anomaly index of a further class at least. Each search is one more occasion for a class to stand
out by chance, and a repair for a trigger that is none flags clean samples."""

NOT_UNDONE = 0.5
"""Share of clean samples that a trigger still leads to its target, at least. On the development
images of the benchmark's victims the shares lay far below it, or far above."""

TRIED = 200
"""Clean samples to see that on."""


@dataclass(frozen=True)
class SearchPlan:
    """How a model is searched for its triggers.

    Attributes:
        methods: names in `reconstruct.methods.SEARCH_METHODS`.
        otherwise: those that are used, too, where `methods` find nothing.
        settings: of the searches; an anomaly index that is given is that of all of them.
        budget: of the time for all searches; that of the builds is not counted.
    """

    methods: Sequence[str] = AFFORDABLE
    otherwise: Sequence[str] = OTHERWISE
    settings: SearchSettings = OWN_VALUES
    budget: Budget = field(default_factory=Budget)


def build_from_clean(
    model: nn.Module | LoadedModel,
    clean: Samples,
    *,
    plan: SearchPlan | None = None,
    target: int | None = None,
    layers: Sequence[str] | None = None,
    form: str = "gated",
    seed: int = 0,
    names_file: Path | None = None,
) -> BuildResult:
    """Search a model for its triggers, and build a bundle from what was found.

    A repair that does not undo triggers of other kinds, which lead to the same class, is built once
    more from these, too. After one trigger was found, the model is searched again as repaired so
    far, until no other class stands out (by `FURTHER_INDEX`), or what does cannot be repaired.
    Where the target is given, nothing else is searched for.

    Args:
        model: in evaluation mode.
        clean: clean samples, some hundred.
        plan: how to search; None for what is affordable, without a limit of the time.
        target: the class that the trigger leads to; None to find it.
        layers: names of candidate layers; None to find them.
        form: as `build_bundle` takes it.
        seed: of the random numbers.
        names_file: TorchServe's `index_to_name.json`, where the folders are called by its names.

    Raises:
        NoTriggerError: no class stands out.
        CalibrationError: the samples do not allow of the search, or the model cannot be repaired
            with what was found.
        SamplesError: the samples cannot be used.
    """
    plan = SearchPlan() if plan is None else plan
    options = BuildOptions(layers, target, form, seed)
    search = _CleanBuild(as_loaded(model), keep_decoded(clean), plan, options, names_file)
    built = search.build(search.find(plan.settings))
    later = plan.settings
    if later.anomaly_index is None:
        later = replace(later, anomaly_index=FURTHER_INDEX)
    # Only repairs that each flag what is predicted as their target go together.
    while target is None and all(repair.only_target for repair in built.bundle.repairs):
        logger.info("searching again, the model as repaired so far")
        try:
            further = search.further(built, later)
        except FireError as error:
            # What was found before is as good as it was.
            logger.info("nothing further: %s", error)
            break
        if further is None:
            break
        built = BuildResult(
            join_bundles(built.bundle, further.bundle),
            [*built.records, *further.records],
            [*built.figures, *further.figures],
        )
    return built


@dataclass(frozen=True)
class _CleanBuild:
    """What stays the same from one trigger to the next.

    Attributes:
        loaded: the model.
        clean: clean samples.
        plan: how to search.
        options: of the builds.
        names_file: TorchServe's `index_to_name.json`, if there is one.
    """

    loaded: LoadedModel
    clean: Samples
    plan: SearchPlan
    options: BuildOptions
    names_file: Path | None

    def find(self, settings: SearchSettings) -> FoundTriggers:
        """Search for the triggers of one class."""
        return find_triggers(
            self.loaded.model,
            self.clean,
            self.clean.description,
            methods=self.plan.methods,
            otherwise=self.plan.otherwise,
            target=self.options.target,
            seed=self.options.seed,
            budget=self.plan.budget,
            settings=settings,
        )

    def further(self, built: BuildResult, settings: SearchSettings) -> BuildResult | None:
        """Search the model as repaired so far; None where nothing is to be added."""
        bundle, model = built.bundle, self.loaded.model
        example = self.clean.description.example()
        with attach_layers(model, bundle.layers, example, target=bundle.target):
            found = self.find(settings)
        if found.target in bundle.targets:
            logger.info("nothing is added to what the bundle has for this class already")
            return None
        other = self.build(found)
        if not all(repair.only_target for repair in other.bundle.repairs):
            logger.info(
                "not added: for class %s samples would be flagged whatever they are predicted as, "
                "which goes with no other repair",
                other.bundle.target,
            )
            return None
        return other

    def build(self, found: FoundTriggers) -> BuildResult:
        """Build from triggers of one class, and once more where others are not undone."""
        built = self._build_from(found.triggers)
        if not found.others:
            return built
        inputs = self._drawn()
        left = self._still_lead(built, found.others, inputs)
        if max(left) < NOT_UNDONE:
            return built
        each = zip(found.others, left, strict=True)
        logger.info(
            "so repaired, others still lead so many clean samples to class %s:", found.target
        )
        logger.info("  " + ", ".join(f"{other.method} {share:.0%}" for other, share in each))
        logger.info("once more, from these, too")
        try:
            again = self._build_from(found.every)
        except CalibrationError as error:
            logger.info("it stays as it was: %s", error)
            return built
        left += self._still_lead(built, found.triggers, inputs)
        if sum(self._still_lead(again, found.every, inputs)) >= sum(left):
            logger.info("it stays as it was: all together, they lead no fewer samples there now")
            return built
        return again

    def _build_from(self, triggers: Sequence[Reconstruction]) -> BuildResult:
        if len(triggers) == 1:
            logger.info(
                "of one trigger alone nobody sees whether its repair serves for another one"
            )
        options = replace(self.options, target=triggers[0].target)
        evidence = stamp_samples(self.clean, triggers)
        return build_from_evidence(self.loaded, evidence, options, self.names_file)

    def _drawn(self) -> Tensor:
        """Return some of the clean samples, (n, *input shape)."""
        generator = torch.Generator().manual_seed(self.options.seed)
        rows = torch.randperm(len(self.clean), generator=generator)[:TRIED]
        return self.clean.load(rows.tolist())

    def _still_lead(
        self, built: BuildResult, triggers: Sequence[Reconstruction], inputs: Tensor
    ) -> list[float]:
        return success_after_repair(self.loaded.model, built.bundle, triggers, inputs)
