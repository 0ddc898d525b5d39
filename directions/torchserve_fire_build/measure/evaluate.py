"""Evaluating a bundle on samples that its build never saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.format.bundle import Bundle
from torchserve_fire.model.config import HandlerConfig
from torchserve_fire.model.load_model import LoadedModel
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire.repair.example_input import example_for
from torchserve_fire.repair.repair_handle import RepairHandle

from ..common.errors import SamplesError
from ..common.progress import Progress
from ..samples.evidence import gather_evidence
from ..samples.predict import logits_of
from ..samples.samples import Samples, iterate
from .figures import Figures, class_list
from .observation import observe
from .target import MIN_GAIN, TargetFinding


def evaluate_bundle(
    loaded: LoadedModel,
    bundle: Bundle,
    config: HandlerConfig,
    clean: Samples,
    triggered: Samples,
    *,
    names_file: Path | None = None,
    warn: Callable[[str], None] = lambda line: None,
) -> Figures:
    """Predict clean and triggered samples with and without the bundle's corrections.

    Args:
        loaded: the model.
        bundle: built for it.
        config: its input.
        clean: clean samples with labels.
        triggered: triggered samples with labels; paired with the clean ones or not.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        warn: called with a line for a person where the bundle is for another trigger than the
            samples show.

    Raises:
        SamplesError: the samples have no labels, do not fit each other, or are swapped.
        AttachError: the bundle does not fit the model.
    """
    evidence = gather_evidence(clean, triggered)
    described = clean.describe_input(config)
    if described.shape != bundle.input.shape:
        raise SamplesError(
            f"{clean.source}: inputs of shape {described.shape}, the bundle was built for "
            f"{bundle.input.shape}"
        )
    unrepaired = observe(loaded.model, evidence, names_file)
    example = example_for(loaded.model, described)
    with (
        Progress("evaluating the repair", len(clean) + len(triggered)) as progress,
        attach_layers(loaded.model, bundle.layers, example, target=bundle.target) as handle,
    ):
        after = [_predict(loaded, s, handle, progress) for s in (clean, triggered)]
    figures = unrepaired.figures(after, bundle.targets)
    if doubt := _doubt(bundle, figures, unrepaired.found):
        warn(f"{triggered.source}: before repair, {doubt}")
    return figures


def _doubt(bundle: Bundle, figures: Figures, found: TargetFinding | None) -> str | None:
    """Return why the figures say little of the bundle, None where nothing speaks for that."""
    if found is None:
        return "these samples are predicted as clean ones are: they show no trigger of this model"
    led_to = found.several or ((found.target,) if found.single else ())
    if others := list(set(led_to) - set(bundle.targets)):
        return f"these samples lead to {class_list(others)}, which this bundle does not repair"
    # A repair that is not for one target alone may be of a trigger that leads to any class.
    one_target = all(repair.only_target for repair in bundle.repairs)
    if one_target and not led_to and figures.attack_success_rate[0] < MIN_GAIN:
        return f"these samples do not lead to {class_list(bundle.targets)}, as this bundle expects"
    return None


def _predict(
    loaded: LoadedModel, samples: Samples, handle: RepairHandle, progress: Progress
) -> tuple[Tensor, Tensor]:
    predictions, flagged = [], []
    for indices, batch in iterate(samples, range(len(samples))):
        predictions.append(logits_of(loaded.model, batch).argmax(1))
        flagged.append(handle.verdict.flagged.cpu())
        progress.advance(len(indices))
    return torch.cat(predictions), torch.cat(flagged)
