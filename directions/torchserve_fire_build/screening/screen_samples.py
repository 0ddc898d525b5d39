"""Screening samples of which nobody knows whether they are triggered, with clean samples alone."""

from __future__ import annotations

import logging

import torch
from torch import nn

from torchserve_fire.repair.attach_layers import check_model

from ..common.errors import SamplesError
from ..common.progress import Progress
from ..estimate.candidate_layers import candidate_layers
from ..estimate.layers_by_length import layers_of_fixed_shape
from ..samples.samples import Samples, require_samples
from ..samples.subset import Subset
from .chances import MIN_CLEAN
from .feature_file import read_feature_file
from .features import read_features
from .screen_on_workers import ScreenOnWorkers
from .screening import Screening, screen_features

logger = logging.getLogger(__name__)


def screen_samples(
    model: nn.Module, clean: Samples, samples: Samples, elsewhere: ScreenOnWorkers | None = None
) -> Screening:
    """Compare samples with clean samples that the model calls the same, at several layers.

    Args:
        model: in evaluation mode.
        clean: clean samples; labels are not used.
        samples: the samples; labels are not used.
        elsewhere: runs the model on samples in files of their own; None to do so here.

    Raises:
        SamplesError: there are no samples, a sample is among the clean samples, or the model calls
            all of these the same, as it does triggered ones.
        CalibrationError: the model fails on the samples, or has no layers to compare.
        AttachError: the model is in training mode.
    """
    check_model(model)
    require_samples(clean, samples)
    layers = candidate_layers(model, clean.description.example())
    layers = layers_of_fixed_shape(model, layers, clean)
    with Progress("screening", len(clean) + len(samples)) as progress:
        known = read_features(model, clean, layers, progress)
        called = set(known.predicted.tolist())
        if len(called) == 1 and len(clean) >= MIN_CLEAN:
            raise SamplesError(
                f"{clean.source}: the model calls all {len(clean)} clean samples class "
                f"{called.pop()}, expected clean samples of several classes: are these triggered?"
            )
        if elsewhere is not None and samples.paths is not None:
            asked = elsewhere.features(samples.paths, layers, progress)
        else:
            asked = read_feature_file(model, samples, layers, progress)
    first = {digest: i for i, digest in reversed(list(enumerate(asked.digests)))}
    both = first.keys() & set(known.digests)
    for i, digest in enumerate(known.digests):
        if digest in both:
            more = f" (in all, {len(both)} samples are)" if len(both) > 1 else ""
            raise SamplesError(
                f"{samples.names[first[digest]]}: is the same as {clean.names[i]} of the clean "
                f"samples in {clean.source}, expected others: leave it out of one of them{more}"
            )
    once = sorted(first.values())
    if len(once) < len(samples):
        logger.info(f"{len(samples) - len(once)} samples are copies of others: left out")
        samples = Subset(samples, once)
        asked = asked.only(torch.tensor(once))
    return screen_features(known, asked, samples.names)
