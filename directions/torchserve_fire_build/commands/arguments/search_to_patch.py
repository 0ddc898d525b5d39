"""What `sanitize --method patch` trains with: triggers that are searched for, and samples."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...common.names import DEEP_INSPECT
from .clean_to_search import clean_to_search, refuse_integers
from .reconstruct import searches
from .target import target_class

if TYPE_CHECKING:
    from ...reconstruct.reconstruction import Reconstruction
    from ...sanitize.labelled_samples import LabelledSamples
    from ...source.model_source import ModelSource


class ToPatch(NamedTuple):
    """What a model is patched with.

    Attributes:
        clean: samples to train on.
        triggers: that some of these are to carry.
        seconds: that are left to train.
    """

    clean: LabelledSamples
    triggers: Sequence[Reconstruction]
    seconds: float


def search_to_patch(
    args: argparse.Namespace,
    clean: LabelledSamples | None,
    source: ModelSource,
) -> ToPatch:
    """Search a model for its trigger, in half of the time at most.

    Args:
        args: of the command.
        clean: the samples that were given; None to recover images from the model, and to take them
            for what it takes them for.
        source: the model.

    Raises:
        NoTriggerError: none was found.
        CalibrationError: the samples do not allow of the search, or none can be recovered.
        SanitizeError: no time is left to train.
    """
    from ...building.search_plan import SearchPlan, find_by_plan
    from ...common.budget import Budget
    from ...common.errors import NoTriggerError, SanitizeError
    from ...sanitize.labelled_samples import labelled_by

    # A wrong name is refused before the work begins.
    target = target_class(args, source, *(() if clean is None else (clean.samples,)))
    if clean is not None:
        refuse_integers(clean.samples.description.kind)
    budget = Budget(args.budget)
    half = budget.share(2)
    sought = searches(args.reconstruct or DEEP_INSPECT)
    if clean is None:
        samples = clean_to_search(None, source, args.seed, half)
        clean = labelled_by(source.loaded.model, samples)
    try:
        found = find_by_plan(
            SearchPlan(sought.methods, sought.otherwise, budget=half),
            source.loaded.model,
            clean.samples,
            target=target,
            seed=args.seed,
        )
    except NoTriggerError as error:
        if args.reconstruct == "all":
            raise
        raise NoTriggerError(
            f"{error}; each search finds triggers of its kind: --reconstruct all tries several, "
            "with --clean"
        ) from None
    seconds = budget.left()
    if seconds == 0:
        raise SanitizeError(
            f"--budget {args.budget:g}: the time was over when the triggers were found, expected "
            "more, to train in"
        )
    return ToPatch(clean, found.every, seconds)
