"""From clean samples alone to a bundle: triggers are found one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.repair.attach_layers import attach_layers

from ..choose.build_record import BuildRecord
from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..reconstruct.find_triggers import FoundTriggers, find_triggers
from ..reconstruct.reconstruction import Reconstruction
from ..reconstruct.settings import OWN_VALUES, SearchSettings
from ..reconstruct.stamped_samples import stamp_samples
from ..reconstruct.success_after_repair import success_after_repair
from ..samples.samples import Samples
from .from_samples import BuildOptions, build_bundle
from .join_bundles import join_bundles

FURTHER_INDEX = 5.0
"""Anomaly index of a further class at least. Each search is one more occasion for a class to stand
out by chance, and a repair for a trigger that is none flags clean samples."""

NOT_UNDONE = 0.5
"""Share of clean samples that a trigger still leads to its target, at least. On the development
images of the benchmark's victims the shares lay far below it, or far above."""

TRIED = 200
"""Clean samples to see that on."""


def build_reconstructed(
    loaded: LoadedModel,
    config: HandlerConfig,
    clean: Samples,
    *,
    methods: Sequence[str],
    otherwise: Sequence[str] = (),
    options: BuildOptions,
    budget: Budget,
    names_file: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    examine: Callable[[BuildRecord], None] = lambda record: None,
    settings: SearchSettings = OWN_VALUES,
) -> Bundle:
    """Search a model for its triggers, and build a bundle from what was found.

    A repair that does not undo triggers of other kinds, which lead to the same class, is built once
    more from these, too. After one trigger was found, the model is searched again as repaired so
    far, until no other class stands out (by `FURTHER_INDEX`), or what does cannot be repaired.
    Where the target is given, nothing else is searched for.

    Args:
        loaded: the model.
        config: its input.
        clean: clean samples.
        methods: names in `reconstruct.methods.METHODS`.
        otherwise: those that are used, too, where `methods` find nothing.
        options: what is given.
        budget: of the time for all searches; that of the builds is not counted.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        tell: called with each thing that was found, as a line for a person.
        examine: called with what each repair of the bundle was chosen from, at the end.
        settings: of the searches; an anomaly index that is given is that of all of them.

    Returns:
        The bundle; it is not saved yet.

    Raises:
        NoTriggerError: no class stands out.
        CalibrationError: the samples do not allow of the search, or the model cannot be repaired
            with what was found.
        SamplesError: the samples cannot be used.
    """
    description = clean.describe_input(config)
    later = settings
    if settings.anomaly_index is None:
        later = replace(settings, anomaly_index=FURTHER_INDEX)

    def find(settings: SearchSettings) -> FoundTriggers:
        return find_triggers(
            loaded.model,
            clean,
            description,
            methods=methods,
            otherwise=otherwise,
            target=options.target,
            seed=options.seed,
            budget=budget,
            tell=tell,
            settings=settings,
        )

    def build(found: FoundTriggers) -> tuple[Bundle, list[BuildRecord]]:
        built = build_from(found.triggers)
        if not found.others:
            return built
        generator = torch.Generator().manual_seed(options.seed)
        inputs = clean.load(torch.randperm(len(clean), generator=generator)[:TRIED].tolist())
        left = success_after_repair(loaded.model, built[0], found.others, inputs)
        if max(left) < NOT_UNDONE:
            return built
        tell(f"so repaired, others still lead so many clean samples to class {found.target}:")
        tell(
            "  " + ", ".join(f"{o.method} {s:.0%}" for o, s in zip(found.others, left, strict=True))
        )
        tell("once more, from these, too")
        try:
            again = build_from(found.every)
        except CalibrationError as error:
            tell(f"it stays as it was: {error}")
            return built
        left += success_after_repair(loaded.model, built[0], found.triggers, inputs)
        if sum(success_after_repair(loaded.model, again[0], found.every, inputs)) >= sum(left):
            tell("it stays as it was: all together, they lead no fewer samples there now")
            return built
        return again

    def build_from(found: Sequence[Reconstruction]) -> tuple[Bundle, list[BuildRecord]]:
        if len(found) == 1:
            tell("of one trigger alone nobody sees whether its repair serves for another one")
        records: list[BuildRecord] = []
        built = build_bundle(
            loaded,
            config,
            stamp_samples(clean, found),
            options=replace(options, target=found[0].target),
            names_file=names_file,
            tell=tell,
            examine=records.append,
        )
        return built, records

    bundle, records = build(find(settings))
    # Only repairs that each flag what is predicted as their target go together.
    while options.target is None and all(repair.only_target for repair in bundle.repairs):
        tell("searching again, the model as repaired so far")
        try:
            example = description.example()
            with attach_layers(loaded.model, bundle.layers, example, target=bundle.target):
                found = find(later)
            if found.target in bundle.targets:
                tell("nothing is added to what the bundle has for this class already")
                break
            other, of_other = build(found)
            if not all(repair.only_target for repair in other.repairs):
                tell(
                    f"not added: for class {other.target} samples would be flagged whatever they "
                    "are predicted as, which goes with no other repair"
                )
                break
        except FireError as error:
            # What was found before is as good as it was.
            tell(f"nothing further: {error}")
            break
        bundle = join_bundles(bundle, other)
        records += of_other
    for record in records:
        examine(record)
    return bundle
