"""The repairs of one trigger: for the trigger as it is, and for altered ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..choose.build_record import BuildRecord
from ..choose.held_out import HeldOut, hold_out
from ..choose.left_out import REPEATS
from ..choose.options import Option, OptionRunner, Outcomes, option_of
from ..choose.order import order_options, outcome_of
from ..choose.overlay_option import overlay_option
from ..choose.search import choose
from ..choose.warp_option import warp_option
from ..common.errors import CalibrationError
from ..common.step_cache import NO_CACHE, StepCache
from ..estimate.layer_statistics import collect_statistics
from ..measure.figures import Answers, Figures, measure
from ..measure.observation import Observation
from ..samples.both import Both
from .alter_evidence import Altered
from .triggers import Trigger

logger = logging.getLogger(__name__)

FEATURES, OVERLAY, WARP, ALTERED = "features", "overlay", "warp", "altered"

AS_GOOD = 0.03
"""Altered triggers are undone if they fare worse than the trigger as it is by no more than this."""

FOUND = 0.5
"""Share of the triggered samples in which an overlay must be found to be taken in any case."""


@dataclass(frozen=True)
class TriggerRepairs:
    """The repairs of one trigger.

    Attributes:
        record: of the choice for the trigger as it is.
        kinds: of the repairs, in the order in which they are asked: `FEATURES` for the one that was
            chosen for the trigger as it is, `OVERLAY` and `WARP` for those in the model's input,
            `ALTERED` for the one that was chosen for altered triggers.
        options: the repairs, in the same order.
        figures: on the held-out samples.
        altered: the same with altered triggers in the place of the triggered samples; None if none
            were altered.
    """

    record: BuildRecord
    kinds: Sequence[str]
    options: Sequence[Option]
    figures: Figures
    altered: Figures | None = None


def repair_as_it_is(record: BuildRecord) -> TriggerRepairs:
    """Return the repair that was chosen for the trigger as it is, alone."""
    left_out = record.left_out
    # Without a detector, every sample is moved and none is flagged.
    flagged = left_out.flagged if record.choice.detector is not None else Both(None, None)
    figures = _figures(record.target, record.held_out, left_out.predictions, flagged)
    return TriggerRepairs(record, [FEATURES], [option_of(record)], figures)


def repair_altered_too(
    model: nn.Module,
    observation: Observation,
    trigger: Trigger,
    record: BuildRecord,
    folds: Both[Tensor],
    altered: Altered,
    generator: torch.Generator,
    cache: StepCache = NO_CACHE,
) -> TriggerRepairs:
    """Add repairs of the altered trigger to the one that was chosen for the trigger as it is.

    Args:
        model: in evaluation mode.
        observation: of the samples as they are.
        trigger: the trigger.
        record: of the choice for the trigger as it is.
        folds: the fold of each clean (N,) and triggered sample (M,), int64.
        altered: altered copies of the trigger's samples.
        generator: source of the random numbers.
        cache: keeps what the steps result in.
    """
    evidence, finding = observation.evidence, trigger.finding
    held_out = hold_out(altered.observation, altered.folds, generator=generator)
    # The clean samples are those that the other repairs are judged on, too.
    held_out = replace(held_out, clean=record.held_out.clean)
    wanted = finding.target if finding.single else None
    runner = OptionRunner(model, record, held_out, wanted, cache)
    before = runner.before()
    options = {FEATURES: option_of(record)}
    # Copies have partners where the trigger itself could be altered: it adds the same to all.
    # Guesses are not of one trigger.
    if altered.observation.evidence.paired and not evidence.guessed:
        overlay = overlay_option(
            evidence,
            Both(observation.predictions.clean != finding.target, trigger.use),
            folds,
            record.held_out,
            held_out,
            only_target=record.choice.only_target,
        )
        if overlay is not None:
            options[OVERLAY] = overlay
    if evidence.paired and not evidence.guessed:
        warp = warp_option(options[FEATURES], evidence, trigger.use, folds.triggered)
        if warp is not None:
            options[WARP] = warp
    further = None
    outcomes = {name: runner.run(option, name) for name, option in options.items()}
    always = {FEATURES}
    if OVERLAY in outcomes and _is_reliable(outcomes[OVERLAY], outcomes[FEATURES]):
        # It finds the trigger at places, too, that no copy shows.
        always.add(OVERLAY)
    order = order_options(outcomes, before, always)
    if not _undone(outcome_of(order, outcomes, before), outcomes[FEATURES]):
        further = _choose_for_altered(
            model, record, trigger, altered, held_out, cache.within(ALTERED)
        )
        if further is not None:
            options[ALTERED] = option_of(further)
            outcomes[ALTERED] = runner.run(options[ALTERED], ALTERED)
            order = order_options(outcomes, before, always)
    after = outcome_of(
        order, _left_out(outcomes, record, further, wanted), before.repeated(REPEATS)
    )
    figures, of_altered = (
        _figures(
            record.target,
            samples,
            Both(after.clean.predictions, outcome.predictions).map(_by_repeat),
            Both(after.clean.flagged, outcome.flagged).map(_by_repeat),
        )
        for samples, outcome in ((record.held_out, after.triggered), (held_out, after.altered))
    )
    return TriggerRepairs(record, order, [options[name] for name in order], figures, of_altered)


def _is_reliable(overlay: Outcomes, features: Outcomes) -> bool:
    """Return whether an overlay flags no clean sample, and is about as good where it is found."""
    found = overlay.triggered.flagged
    if bool(overlay.clean.flagged.any()) or float(found.float().mean()) < FOUND:
        return False
    ours, theirs = (each.triggered.rightness[found].mean() for each in (overlay, features))
    return bool(ours >= theirs - AS_GOOD)


def _undone(after: Outcomes, as_it_is: Outcomes) -> bool:
    """Return whether altered triggers fare as well as the trigger as it is."""
    attainable = max(after.triggered.rightness.mean(), as_it_is.triggered.rightness.mean())
    return bool(after.altered.rightness.mean() >= attainable - AS_GOOD)


def _choose_for_altered(
    model: nn.Module,
    record: BuildRecord,
    trigger: Trigger,
    altered: Altered,
    held_out: HeldOut,
    cache: StepCache,
) -> BuildRecord | None:
    """Choose a repair by layers' features for altered triggers; None if there is none."""
    clean_target = altered.observation.predictions.clean == record.target
    (statistics,) = collect_statistics(
        model,
        record.layers,
        altered.observation.evidence,
        altered.folds,
        clean_targets=[clean_target],
        uses=[torch.ones(len(altered.originals), dtype=torch.bool)],
        cache=cache,
    )
    try:
        return choose(
            model,
            statistics,
            record.layers,
            held_out,
            trigger.finding,
            cache=cache,
            progress_title="choosing layers for altered triggers",
        )
    except CalibrationError as error:
        logger.info("no further repair for altered triggers: %s", error)
        return None


def _left_out(
    outcomes: Mapping[str, Outcomes],
    record: BuildRecord,
    further: BuildRecord | None,
    wanted: int | None,
) -> dict[str, Outcomes]:
    """Return the outcomes of choices that were made without the samples they are measured on.

    Each sample stands in them `REPEATS` times, once for each choice.
    """
    honest = {name: outcome.repeated(REPEATS) for name, outcome in outcomes.items()}
    features = honest[FEATURES]
    clean, triggered = zip(record.left_out.predictions, record.left_out.flagged, strict=True)
    honest[FEATURES] = replace(
        features,
        clean=features.clean.answering(*clean, wanted),
        triggered=features.triggered.answering(*triggered, wanted),
    )
    if further is not None:
        of_further = honest[ALTERED]
        clean, triggered = zip(further.left_out.predictions, further.left_out.flagged, strict=True)
        honest[ALTERED] = replace(
            of_further,
            clean=of_further.clean.answering(*clean, wanted),
            altered=of_further.altered.answering(*triggered, wanted),
        )
    return honest


def _by_repeat(values: Tensor) -> Tensor:
    return values.view(REPEATS, -1)


def _figures(
    target: int,
    held_out: HeldOut,
    predictions: Both[Tensor],
    flagged: Both[Tensor] | Both[None],
) -> Figures:
    """Return the figures of answers that were given several times.

    Args:
        target: the class that the trigger leads to.
        held_out: N clean samples and M triggered ones.
        predictions: (times, N) and (times, M) int64.
        flagged: (times, N) and (times, M) bool; None without a detector.
    """
    times = len(predictions.clean)

    def repeated(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.repeat(times)

    clean, triggered = (
        Answers(
            group.predictions.repeat(times),
            predicted.flatten(),
            None if which is None else which.flatten(),
            repeated(group.true_classes),
        )
        for group, predicted, which in zip(held_out, predictions, flagged, strict=True)
    )
    partners_right = repeated(held_out.triggered.partners_right)
    figures = measure(clean, triggered, target, partners_right)
    answered, attacked = figures.counts
    return replace(
        figures,
        counts=(answered // times, attacked // times),
        natural_count=figures.natural_count // times,
    )
