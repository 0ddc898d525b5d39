"""How a model is searched for its triggers: by a scan that names the target, or class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from ..common.budget import Budget
from ..common.errors import CalibrationError
from ..reconstruct.find_triggers import FoundTriggers, find_triggers
from ..reconstruct.methods import AFFORDABLE, OTHERWISE
from ..reconstruct.settings import OWN_VALUES, SearchSettings
from ..samples.class_label import Label
from ..samples.samples import Samples
from ..token_search.reconstruct_tokens import find_token_triggers
from ..token_search.token_subject import takes_tokens
from .field_triggers import find_field_triggers
from .name_target import name_target


@dataclass(frozen=True)
class SearchPlan:
    """How a model is searched for its triggers.

    Attributes:
        methods: names in `reconstruct.methods.SEARCH_METHODS`.
        otherwise: names of further methods, used if `methods` find nothing.
        settings: settings of the searches; an anomaly index that is set holds for all searches.
        budget: time for all searches; the time of the builds does not count.
    """

    methods: Sequence[str] = AFFORDABLE
    otherwise: Sequence[str] = OTHERWISE
    settings: SearchSettings = OWN_VALUES
    budget: Budget = field(default_factory=Budget)

    @property
    def scans(self) -> bool:
        """Whether a scan names the target, as `inspect` does by default.

        It does unless searches are chosen by name, or how they compare the classes is.
        """
        chosen = self.settings
        compared = (chosen.bound, chosen.patch_share, chosen.screening_steps, chosen.anomaly_index)
        return tuple(self.methods) == AFFORDABLE and compared == (None,) * len(compared)


def find_by_plan(
    plan: SearchPlan,
    model: nn.Module,
    clean: Samples,
    *,
    target: int | None,
    seed: int,
    settings: SearchSettings | None = None,
    cache: Path | None = None,
    label: Label = str,
) -> FoundTriggers:
    """Search a model for the triggers of one class.

    Args:
        plan: how.
        model: in evaluation mode.
        clean: clean samples.
        target: the class; None to find it.
        seed: of the random numbers.
        settings: in place of the plan's, where it does not scan.
        cache: folder to keep the steps of a scan in; None to keep none.
        label: says what a class is called.

    Raises:
        CalibrationError: as `find_triggers` and `name_target`.
        NoTriggerError: likewise.
    """
    if takes_tokens(clean.description):
        if not plan.scans:
            raise CalibrationError(
                f"{clean.source}: texts are searched in one way, for tokens: give --reconstruct "
                "all, and nothing that sets how images are searched"
            )
        return find_token_triggers(
            model, clean, target=target, seed=seed, budget=plan.budget, label=label
        )
    methods, others, otherwise = plan.methods, None, plan.otherwise
    settings = plan.settings if settings is None else settings
    if clean.description.table is not None and plan.scans:
        return find_field_triggers(model, clean, target=target, seed=seed, label=label)
    if plan.scans and target is None:
        named = name_target(
            model,
            clean,
            clean.description,
            candidates=plan.methods,
            seed=seed,
            budget=plan.budget,
            cache=cache,
            label=label,
        )
        methods, others, otherwise = named.methods, named.others, ()
        target, settings = named.target, plan.settings
    return find_triggers(
        model,
        clean,
        clean.description,
        methods=methods,
        otherwise=otherwise,
        others=others,
        target=target,
        seed=seed,
        budget=plan.budget,
        settings=settings,
        label=label,
    )
