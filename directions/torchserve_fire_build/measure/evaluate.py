"""Evaluating a bundle on samples that its build never saw."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_fire.format.bundle import Bundle, InputDescription, require_bundle
from torchserve_fire.repair.attach import attach
from torchserve_fire.repair.attach_layers import attach_layers, check_model
from torchserve_fire.repair.example_input import example_for
from torchserve_fire.repair.repair_handle import RepairHandle

from ..common.errors import SamplesError
from ..common.progress import Progress
from ..samples.both import Both
from ..samples.evidence import gather_evidence
from ..samples.fitting_batches import fitting_batches
from ..samples.kept import keep_decoded
from ..samples.labels import refuse_unknown
from ..samples.predict import logits_of
from ..samples.samples import Samples, require_samples
from .figures import Figures, class_list
from .fit_to_model import check_observed
from .observation import Observation, observe
from .target import MIN_GAIN

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What a bundle does to samples that its build never saw, sample by sample.

    Attributes:
        figures: before and after repair.
        observation: the samples, their labels, and the predictions before repair.
        predictions: the classes that are predicted after repair, (N,) and (M,) int64.
        flagged: which samples were flagged, (N,) and (M,) bool; None without a detector.
        doubt: why the figures say little about the bundle; None if there is no such reason.
    """

    figures: Figures
    observation: Observation
    predictions: Both[Tensor]
    flagged: Both[Tensor] | None
    doubt: str | None = None


def evaluate_bundle(
    model: nn.Module,
    bundle: Bundle,
    clean: Samples,
    triggered: Samples,
    *,
    names_file: Path | None = None,
    unpaired: bool = False,
    accept_accuracy: bool = False,
    allow_other_weights: bool = False,
) -> Figures:
    """Predict clean and triggered samples with and without the bundle's corrections.

    A warning is logged if the samples do not show the trigger that the bundle is for.

    Args:
        model: the model that the bundle was built for, in evaluation mode.
        bundle: the bundle to evaluate.
        clean: clean samples. Without labels, the agreement with the model's own predictions is
            measured in the place of the accuracy.
        triggered: triggered samples; paired with the clean samples or not.
        names_file: TorchServe's `index_to_name.json`, if there is one.
        unpaired: whether to take the samples as unpaired, whatever they are called.
        accept_accuracy: whether to go on if the model would be right on far more of the clean
            samples under another setting.
        allow_other_weights: whether to measure a bundle that was built for other weights.

    Returns:
        The figures before and after repair.

    Raises:
        SamplesError: the folders do not say which classes they are, or the samples do not fit each
            other, or are swapped.
        AttachError: the model is in training mode, or the bundle does not fit it, or was built for
            other weights.
    """
    return evaluate_samples(
        model,
        bundle,
        clean,
        triggered,
        names_file=names_file,
        unpaired=unpaired,
        accept_accuracy=accept_accuracy,
        allow_other_weights=allow_other_weights,
    ).figures


def evaluate_samples(
    model: nn.Module,
    bundle: Bundle,
    clean: Samples,
    triggered: Samples,
    *,
    names_file: Path | None = None,
    unpaired: bool = False,
    accept_accuracy: bool = False,
    allow_other_weights: bool = False,
) -> Evaluation:
    """Do as `evaluate_bundle`, and return what became of each sample, too."""
    require_bundle(bundle)
    # A forward pass in training mode would change the weights.
    check_model(model)
    require_samples(clean, triggered)
    evidence = gather_evidence(clean, triggered, unpaired=unpaired)
    kept = evidence.both.map(keep_decoded)
    evidence = replace(evidence, clean=kept.clean, triggered=kept.triggered)
    described = clean.description
    if _without_length(described) != _without_length(bundle.input):
        raise SamplesError(
            f"{clean.source}: inputs of shape {described.shape}, the bundle was built for "
            f"{bundle.input.shape}"
        )
    observation = observe(model, evidence, names_file)
    refuse_unknown(observation.unknown, clean, observation.classes)
    if unknown := observation.describe_labels():
        logger.info(unknown)
    check_observed(model, observation, accept=accept_accuracy)
    example = example_for(model, described)
    with (
        Progress("evaluating the repair", len(clean) + len(triggered)) as progress,
        attach_layers(model, bundle.layers, example, target=bundle.target)
        if allow_other_weights
        else attach(model, bundle, example=example) as handle,
    ):
        after = evidence.both.map(lambda s: _predict(model, s, handle, progress))
    predictions, flagged = (after.map(itemgetter(i)) for i in (0, 1))
    # Without a detector, every sample is moved and none is flagged.
    judged = flagged if bundle.detecting_layers else None
    figures = observation.figures_after(predictions, judged, bundle.targets)
    if doubt := _doubt(bundle, figures, observation):
        logger.warning("%s: before repair, %s", triggered.source, doubt)
    return Evaluation(figures, observation, predictions, judged, doubt)


def _without_length(described: InputDescription) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape of an input, without the length of texts, and what these are padded with."""
    shape = described.shape[:-1] if described.padding else described.shape
    return shape, described.padding


def _doubt(bundle: Bundle, figures: Figures, observation: Observation) -> str | None:
    """Return why the figures say little about the bundle; None if there is no such reason."""
    found, label = observation.find_where_led(), observation.label
    if found is None:
        return "these samples are predicted as clean ones are: they show no trigger of this model"
    led_to = found.several or ((found.target,) if found.single else ())
    if others := list(set(led_to) - set(bundle.targets)):
        return (
            f"these samples lead to {class_list(others, label)}, which this bundle does not repair"
        )
    # A repair that is not for one target alone may be for a trigger that leads to any class.
    one_target = all(repair.only_target for repair in bundle.repairs)
    if one_target and not led_to and figures.attack_success_rate[0] < MIN_GAIN:
        where = class_list(bundle.targets, label)
        return f"these samples do not lead to {where}, as this bundle expects"
    return None


def _predict(
    model: nn.Module, samples: Samples, handle: RepairHandle, progress: Progress
) -> tuple[Tensor, Tensor]:
    """Return the predictions after repair, (N,) int64, and which were flagged, (N,) bool."""
    predictions, flagged = [], []

    def run(part: Sequence[int]) -> tuple[Tensor, Tensor]:
        logits = logits_of(model, samples.load(part))
        return logits.argmax(1), handle.verdict.flagged.cpu()

    for part, (predicted, flags) in fitting_batches(model, range(len(samples)), run):
        predictions.append(predicted)
        flagged.append(flags)
        progress.advance(len(part))
    return torch.cat(predictions), torch.cat(flagged)
