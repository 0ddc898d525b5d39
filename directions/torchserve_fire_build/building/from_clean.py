"""From clean samples alone to a bundle: a model is searched for its triggers, one by one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_fire.errors import FireError
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.layers import device_of

from ..common.errors import CalibrationError
from ..measure.fit_to_model import check_clean
from ..reconstruct.find_triggers import FoundTriggers
from ..reconstruct.reconstruction import Reconstruction
from ..reconstruct.settings import SearchSettings
from ..reconstruct.stamped_samples import stamp_samples
from ..reconstruct.success_after_repair import success_after_repair
from ..samples.class_label import Label, label_of
from ..samples.kept import keep_decoded
from ..samples.predict import logits_of
from ..samples.samples import Samples
from .build_options import BuildOptions
from .from_samples import as_loaded, build_from_evidence
from .join_bundles import join_bundles
from .result import BuildResult
from .search_plan import SearchPlan, find_by_plan

logger = logging.getLogger(__name__)

FURTHER_INDEX = 5.0
"""The least anomaly index of a further class. With each search, a class may stand out by chance;
and a repair for a trigger that does not exist flags clean samples."""

NOT_UNDONE = 0.5
"""A trigger is not undone if it still leads this share of clean samples to its target. On the
development images of the benchmark's victims, the shares lay far below or far above."""

TRIED = 200
"""Clean samples on which this share is measured."""


def build_from_clean(
    model: nn.Module | LoadedModel,
    clean: Samples,
    *,
    plan: SearchPlan | None = None,
    target: int | None = None,
    layers: Sequence[str] | None = None,
    form: str = "gated",
    augment: str = "standard",
    seed: int = 0,
    names_file: Path | None = None,
    cache: Path | None = None,
    accept_accuracy: bool = False,
) -> BuildResult:
    """Search a model for its triggers, and build a bundle from the triggers that were found.

    If the repair does not undo triggers of other kinds that lead to the same class, it is built
    once more, from these triggers, too. The model is then searched again, with its repairs so far,
    until no other class stands out, or the class that does cannot be repaired.
    With a given target, only triggers of this target are searched for; a model of a table is
    searched for one target.

    Args:
        model: in evaluation mode.
        clean: some hundred clean samples.
        plan: how to search; None for the affordable methods, without a time limit.
        target: the class that the trigger leads to; None to find it.
        layers: names of candidate layers; None to find them.
        form: as in `build_bundle`.
        augment: as in `build_bundle`.
        seed: of the random numbers.
        names_file: TorchServe's `index_to_name.json`, if the folders have its names.
        cache: folder to keep finished steps in, so that an interrupted build goes on from there;
            None to keep none.
        accept_accuracy: whether to go on if the model would be right on far more of the clean
            samples under another setting.

    Returns:
        The bundle, with what it was chosen from. It is not saved yet.

    Raises:
        NoTriggerError: no class stands out.
        CalibrationError: the samples do not allow the search, or the model cannot be repaired with
            the triggers that were found.
        SamplesError: the samples cannot be used.
        OptionError: an argument is not one of its values.
        AttachError: the model is in training mode, or a named layer does not exist.
    """
    plan = SearchPlan() if plan is None else plan
    options = BuildOptions(
        layers, target, form, seed, augment=augment, cache=cache, accept_accuracy=accept_accuracy
    )
    loaded, clean = as_loaded(model), keep_decoded(clean)
    # Before the search, which may take hours.
    check_clean(loaded.model, clean, names_file, accept=accept_accuracy)
    classes = logits_of(loaded.model, clean.description.example()).shape[1]
    label = label_of([clean], classes, names_file)
    search = _CleanBuild(loaded, clean, plan, options, names_file, label)
    built = search.build(search.find(plan.settings, cache))
    later = plan.settings
    if later.anomaly_index is None:
        later = replace(later, anomaly_index=FURTHER_INDEX)
    # A model with hooks has no twins to compare with, as the search of a table does.
    again = target is None and clean.description.table is None
    # Repairs can be combined only if each flags nothing but predictions of its own target.
    while again and all(repair.only_target for repair in built.bundle.repairs):
        logger.info("searching again, with the repairs so far")
        try:
            further = search.further(built, later)
        except FireError as error:
            # The repairs so far are not affected.
            logger.info("no further trigger: %s", error)
            break
        if further is None:
            break
        built = BuildResult(
            join_bundles(built.bundle, further.bundle),
            [*built.records, *further.records],
            [*built.figures, *further.figures],
            label=label,
        )
    return built


@dataclass(frozen=True)
class _CleanBuild:
    """What all searches and builds for one model share.

    Attributes:
        loaded: the model.
        clean: clean samples.
        plan: how to search.
        options: options of the builds.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        label: says what a class is called.
    """

    loaded: LoadedModel
    clean: Samples
    plan: SearchPlan
    options: BuildOptions
    names_file: Path | None
    label: Label

    def find(self, settings: SearchSettings, cache: Path | None = None) -> FoundTriggers:
        """Search for the triggers of one class; a scan keeps its steps in the cache."""
        return find_by_plan(
            self.plan,
            self.loaded.model,
            self.clean,
            target=self.options.target,
            seed=self.options.seed,
            settings=settings,
            cache=cache,
            label=self.label,
        )

    def further(self, built: BuildResult, settings: SearchSettings) -> BuildResult | None:
        """Search the model with its repairs so far; return None if there is nothing to add."""
        bundle, model = built.bundle, self.loaded.model
        example = self.clean.description.example().to(device_of(model))
        with attach_layers(model, bundle.layers, example, target=bundle.target):
            # The cache does not know of the repairs.
            found = self.find(settings)
        if found.target in bundle.targets:
            logger.info("not added: the bundle has a repair for this class already")
            return None
        built_further = self.build(found)
        if not all(repair.only_target for repair in built_further.bundle.repairs):
            logger.info(
                "not added: the repair for class %s would flag samples whatever class they are "
                "predicted as, so it cannot be combined with other repairs",
                self.label(built_further.bundle.target),
            )
            return None
        return built_further

    def build(self, found: FoundTriggers) -> BuildResult:
        """Build from triggers of one class; build again if the class's others are not undone."""
        built = self._build_from(found.triggers)
        if not found.others:
            return built
        inputs = self._drawn()
        shares = self._still_lead(built, found.others, inputs)
        if max(shares) < NOT_UNDONE:
            return built
        logger.info(
            "after this repair, triggers of other methods still lead clean samples to class %s:",
            self.label(found.target),
        )
        pairs = zip(found.others, shares, strict=True)
        logger.info("  " + ", ".join(f"{other.method} {share:.0%}" for other, share in pairs))
        logger.info("building once more, from these triggers, too")
        try:
            again = self._build_from(found.every)
        except CalibrationError as error:
            logger.info("the first repair is kept: %s", error)
            return built
        shares += self._still_lead(built, found.triggers, inputs)
        if sum(self._still_lead(again, found.every, inputs)) >= sum(shares):
            logger.info("the first repair is kept: the new one undoes no more of the triggers")
            return built
        return again

    def _build_from(self, triggers: Sequence[Reconstruction]) -> BuildResult:
        if len(triggers) == 1:
            logger.info(
                "one trigger only: it is not known whether the repair works for another trigger"
            )
        options = replace(self.options, target=triggers[0].target)
        evidence = stamp_samples(self.clean, triggers)
        return build_from_evidence(self.loaded, evidence, options, self.names_file)

    def _drawn(self) -> Tensor:
        """Return clean samples that are drawn at random, (n, *input shape)."""
        generator = torch.Generator().manual_seed(self.options.seed)
        rows = torch.randperm(len(self.clean), generator=generator)[:TRIED]
        return self.clean.load(rows.tolist())

    def _still_lead(
        self, built: BuildResult, triggers: Sequence[Reconstruction], inputs: Tensor
    ) -> list[float]:
        return success_after_repair(self.loaded.model, built.bundle, triggers, inputs)
