"""From clean and triggered samples to a bundle."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.repair.attach_layers import check_model
from torchserve_fire.repair.layers import eager_model

from ..choose.held_out import hold_out
from ..choose.search import choose
from ..common.step_cache import StepCache
from ..estimate.candidate_layers import find_layers
from ..estimate.layer_statistics import StatisticsOfFolds, collect_statistics
from ..estimate.layers_by_length import sort_by_length
from ..measure.fit_to_model import check_observed
from ..measure.observation import Observation, observe
from ..samples.both import Both
from ..samples.evidence import Evidence, gather_evidence
from ..samples.folds import assign_folds
from ..samples.kept import keep_both
from ..samples.samples import Samples
from .alter_evidence import Altered, alter_triggered, is_alterable
from .assemble import assemble
from .build_cache import cache_of
from .build_options import BuildOptions
from .misplaced import leave_out_misplaced
from .result import BuildResult
from .stamp_clean import stamp_clean
from .trigger_repairs import repair_altered_too, repair_as_it_is
from .triggers import Trigger, find_triggers_in

logger = logging.getLogger(__name__)


def build_bundle(
    model: nn.Module | LoadedModel,
    clean: Samples,
    triggered: Samples,
    *,
    target: int | None = None,
    layers: Sequence[str] | None = None,
    form: str = "gated",
    augment: str = "standard",
    seed: int = 0,
    names_file: Path | None = None,
    unpaired: bool = False,
    cache: Path | None = None,
    accept_accuracy: bool = False,
) -> BuildResult:
    """Build a direction bundle from clean and triggered samples (FIRE, arXiv 2602.10780).

    Args:
        model: in evaluation mode.
        clean: clean samples; a hundred are enough.
        triggered: triggered samples; best are the clean samples with the trigger added.
        target: the class that the trigger leads to; None to find it.
        layers: names of candidate layers; None to find them.
        form: "gated" repairs what it detects; "shift" moves every input, as plain FIRE does;
            "clamp" clips every input to the clean range of a projection.
        augment: "standard" also repairs altered triggers of images: moved, weaker, repeated,
            recoloured or compressed, as far as the model obeys them; "strong" also stronger,
            flipped, scaled and blurred ones; "none" the trigger as it is. For the form "gated".
        seed: of the random numbers.
        names_file: TorchServe's `index_to_name.json`, if the folders have its names.
        unpaired: whether to take triggered samples as unpaired, whatever they are called.
        cache: folder to keep finished steps in, so that an interrupted build goes on from there;
            None to keep none.
        accept_accuracy: whether to go on if the model would be right on far more of the clean
            samples under another setting.

    Returns:
        The bundle, with what it was chosen from. It is not saved yet.

    Raises:
        SamplesError: the samples cannot be used.
        CalibrationError: the samples do not show a trigger, or no layer repairs it.
        OptionError: an argument is not one of its values.
        AttachError: the model is in training mode, or a named layer does not exist.
    """
    options = BuildOptions(
        layers, target, form, seed, augment=augment, cache=cache, accept_accuracy=accept_accuracy
    )
    loaded = as_loaded(model)
    evidence = gather_evidence(clean, triggered, unpaired=unpaired)
    return build_from_evidence(loaded, evidence, options, names_file)


def as_loaded(model: nn.Module | LoadedModel) -> LoadedModel:
    """Return a model as a `LoadedModel`; the file of its weights may be unknown.

    Of a compiled model, the one that was compiled is taken: it has the layers.

    Raises:
        AttachError: no corrections could be attached, as to a model in training mode, whose
            weights a forward pass would change.
    """
    if isinstance(model, LoadedModel):
        check_model(model.model)
        return model
    eager = eager_model(model)
    check_model(eager)
    return LoadedModel(eager, type(eager).__name__, None)


def build_from_evidence(
    loaded: LoadedModel,
    evidence: Evidence,
    options: BuildOptions,
    names_file: Path | None = None,
    logits: Both[Tensor] | None = None,
    of_folds: StatisticsOfFolds | None = None,
) -> BuildResult:
    """Observe, find the triggers, collect statistics, choose and assemble.

    Each step logs what it found, line by line.

    Args:
        loaded: the model.
        evidence: the calibration samples.
        options: what the user decided.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        logits: what the model returns for the samples, (N, classes) and (M, classes) float32, where
            that is known; None to compute it.
        of_folds: computes the statistics of each fold; None to do so here.

    Returns:
        The bundle, with what it was chosen from. It is not saved yet.

    Raises:
        FireError: as `build_bundle`.
    """
    model = loaded.model
    generator = torch.Generator().manual_seed(options.seed)
    logger.info(evidence.describe())
    kept = keep_both(evidence.both)
    evidence = replace(evidence, clean=kept.clean, triggered=kept.triggered)
    cache = cache_of(loaded, evidence, options, names_file)
    example = evidence.clean.description.example()
    layers = find_layers(model, example, options.layers)
    by_token: Collection[str] = ()
    if evidence.clean.description.padding:
        layers, by_token = sort_by_length(model, layers, evidence.clean)
    observation = observe(model, evidence, names_file, cache=cache, logits=logits)
    if unknown := observation.describe_labels():
        logger.info(unknown)
    # Before triggers are reconstructed, the clean samples were checked already.
    if not evidence.guessed:
        check_observed(model, observation, accept=options.accept_accuracy)
    triggers = find_triggers_in(observation, options)
    stamped = [_stamp(model, observation, trigger, options, cache) for trigger in triggers]
    if stamped[0] is not None and len(triggers) == 1 and of_folds is None:
        found = leave_out_misplaced(observation, triggers[0])
        if found is not observation:
            observation, evidence = found, found.evidence
            cache = cache.within("without misplaced samples")
            stamped = [_stamp(model, observation, triggers[0], options, cache)]
    groups = [trigger.use for trigger in triggers] if len(triggers) > 1 else []
    folds = assign_folds(evidence, generator, groups)
    predicted = observation.predictions.clean
    collected = collect_statistics(
        model,
        layers,
        evidence,
        folds,
        clean_targets=[predicted == trigger.finding.target for trigger in triggers],
        uses=[trigger.use for trigger in triggers],
        by_token=by_token,
        cache=cache,
        of_folds=of_folds,
    )
    repairs = []
    for trigger, statistics, pairs in zip(triggers, collected, stamped, strict=True):
        of_trigger = cache.within(f"class {trigger.finding.target}")
        held_out = hold_out(
            observation,
            folds,
            generator=generator,
            # The repair of one trigger need not undo the other triggers.
            use=trigger.use if len(triggers) > 1 else None,
        )
        record = choose(
            model,
            statistics,
            layers,
            held_out,
            trigger.finding,
            form=options.form,
            repairs=options.repairs,
            cache=of_trigger,
        )
        altered = _alter(model, observation, pairs, trigger, folds, options, of_trigger)
        if altered is None:
            repairs.append(repair_as_it_is(record))
        else:
            repairs.append(
                repair_altered_too(
                    model, observation, trigger, record, folds, altered, generator, of_trigger
                )
            )
    return assemble(loaded, observation, triggers, repairs, options.seed)


def _stamp(
    model: nn.Module,
    observation: Observation,
    trigger: Trigger,
    options: BuildOptions,
    cache: StepCache,
) -> Observation | None:
    """Return pairs made of unpaired samples; None if there are none, or none are asked for."""
    if not _alters(observation.evidence, options):
        return None
    of_trigger = cache.within(f"class {trigger.finding.target}")
    return stamp_clean(model, observation, trigger, of_trigger)


def _alters(evidence: Evidence, options: BuildOptions) -> bool:
    return options.augment != "none" and options.form == "gated" and is_alterable(evidence)


def _alter(
    model: nn.Module,
    observation: Observation,
    stamped: Observation | None,
    trigger: Trigger,
    folds: Both[Tensor],
    options: BuildOptions,
    cache: StepCache,
) -> Altered | None:
    """Return altered copies of a trigger's samples; None if there is nothing to alter."""
    if not _alters(observation.evidence, options):
        return None
    use = trigger.use
    if stamped is not None:
        observation = stamped
        folds = Both(folds.clean, folds.clean[list(stamped.evidence.partners)])
        use = torch.ones(len(stamped.evidence.triggered), dtype=torch.bool)
    return alter_triggered(
        model,
        observation,
        use,
        folds,
        strong=options.augment == "strong",
        # A generator of its own, so that nothing else of a build depends on alterations.
        generator=torch.Generator().manual_seed(options.seed),
        cache=cache,
    )
