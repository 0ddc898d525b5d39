"""The figures of `evaluate`, for a model before and after its weights are changed."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..common.errors import SamplesError
from ..common.progress import Progress
from ..measure.figures import Figures
from ..measure.observation import Observation, observe, refuse_swapped
from ..samples.evidence import gather_evidence
from ..samples.predict import predict_logits
from ..samples.samples import Samples


def observe_before(
    model: nn.Module, clean: Samples, triggered: Samples, names_file: Path | None = None
) -> Observation:
    """Predict samples with a model before its weights are changed.

    Args:
        model: in evaluation mode.
        clean: labelled clean samples; not those that the weights will be changed with.
        triggered: labelled triggered samples; paired with the clean samples or not.
        names_file: TorchServe's `index_to_name.json`, if there is one.

    Raises:
        SamplesError: the samples have no labels, do not fit each other, are swapped, or show no
            trigger.
    """
    before = observe(model, gather_evidence(clean, triggered), names_file, labelled=True)
    refuse_swapped(before)
    if before.find_where_led() is None:
        raise SamplesError(
            f"{triggered.source}: the model predicts these samples as it predicts clean ones: "
            "expected samples with a trigger of this model"
        )
    return before


def compare(before: Observation, model: nn.Module) -> Figures:
    """Return the figures before, and after with the model that has the new weights."""
    found = before.find_where_led()
    groups = before.evidence.both
    with Progress("evaluating the new weights", sum(map(len, groups))) as progress:
        after = groups.map(lambda s: predict_logits(model, s, range(len(s)), progress).argmax(1))
    return before.figures_after(after, None, () if found is None else found.targets)
