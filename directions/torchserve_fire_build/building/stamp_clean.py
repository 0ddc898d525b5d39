"""Pairs from unpaired samples: the trigger that they show, put into clean samples."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..alter.pixels import to_inputs, to_pixels
from ..common.progress import Progress
from ..common.step_cache import NO_CACHE, StepCache
from ..estimate.trigger_fit import TriggerFit
from ..estimate.unpaired_trigger import fit_unpaired
from ..measure.observation import Observation
from ..samples.both import Both
from ..samples.folds import MIN_SAMPLES
from ..samples.predict import predict_logits
from ..samples.samples import Samples
from ..samples.subset import Subset
from .triggers import Trigger

logger = logging.getLogger(__name__)

FITTED = 200
"""The most samples of each kind that a trigger is fitted to."""

OBEYED = 0.9
"""Share of the stamped clean samples that must lead where the trigger does: else what was fitted is
not the trigger."""


class StampedSamples(Subset):
    """Clean samples with a trigger put into them when they are read.

    Args:
        clean: images, or other maps (C, H, W).
        indices: the samples to take.
        fit: what the trigger does to pixels.
    """

    def __init__(self, clean: Samples, indices: Sequence[int], fit: TriggerFit) -> None:
        super().__init__(clean, indices)
        self._fit = fit

    def load(self, indices: Sequence[int]) -> Tensor:
        """Return the stamped samples at `indices`, (n, C, H, W) float32, normalised."""
        clean = to_pixels(super().load(indices), self.description)
        return to_inputs(self._fit.stamp(clean), self.description)


def stamp_clean(
    model: nn.Module, observation: Observation, trigger: Trigger, cache: StepCache = NO_CACHE
) -> Observation | None:
    """Put the trigger that unpaired samples show into clean ones, which makes pairs.

    Args:
        model: in evaluation mode.
        observation: of the samples as they are: images, or other maps (C, H, W).
        trigger: where it leads, and the samples to fit it to.
        cache: keeps the stamped samples' logits.

    Returns:
        The same clean samples, and stamped ones that lead where the trigger does. None if the
        samples are pairs already, or if the model hardly obeys what was fitted, as with a trigger
        that warps images.
    """
    evidence, target = observation.evidence, trigger.finding.target
    if evidence.paired or evidence.guessed or not trigger.finding.single:
        return None
    description = evidence.clean.description
    other = observation.predictions.clean != target
    if observation.labels.clean is not None:
        other &= observation.labels.clean != target
    rows = other.nonzero().flatten().tolist()[:FITTED]
    shown = trigger.use.nonzero().flatten().tolist()[:FITTED]
    if len(rows) < MIN_SAMPLES:
        return None
    fit = fit_unpaired(
        to_pixels(evidence.clean.load(rows), description),
        to_pixels(evidence.triggered.load(shown), description),
    )
    stamped = StampedSamples(evidence.clean, rows, fit)

    def predict() -> dict[str, Tensor]:
        with Progress("predicting stamped samples", len(rows)) as progress:
            return {"logits": predict_logits(model, stamped, range(len(rows)), progress)}

    logits = cache.result("stamped samples", predict)["logits"]
    obeyed = logits.argmax(1) == target
    share = float(obeyed.double().mean())
    logger.info("clean samples that the fitted trigger leads to the target: %.0f %%", 100 * share)
    if share < OBEYED:
        return None
    kept = obeyed.nonzero().flatten().tolist()
    partners = [rows[i] for i in kept]
    labels = observation.labels.clean
    return replace(
        observation,
        evidence=replace(evidence, triggered=Subset(stamped, kept), partners=partners),
        labels=Both(labels, None if labels is None else labels[torch.tensor(partners)]),
        logits=Both(observation.logits.clean, logits[obeyed]),
    )
