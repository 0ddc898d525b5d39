"""Images for the map net of `tests.directions.backdoored_nets`."""

import torch

from tests.directions.backdoored import clean_inputs, labels_of, stamp
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire_build.samples.evidence import Evidence
from torchserve_fire_build.samples.tensor_samples import TensorSamples

DESCRIPTION = InputDescription("image", (1, 6, 6), (0.0,), (0.2,))
"""An input of 4, the trigger's, is a pixel of 0.8."""


def in_8_bits(inputs):
    return (inputs * 0.2 * 255).round() / 255 / 0.2


def image_evidence(count=40, *, paired=True, trigger=None, description=DESCRIPTION):
    """Clean and triggered images; a `trigger` is put in in place of the net's own."""
    labels = labels_of(count)
    clean = clean_inputs("map", labels, 0).clamp(0, 1)
    others = clean if paired else clean_inputs("map", labels, 1).clamp(0, 1)
    triggered = stamp("map", others) if trigger is None else trigger(others)
    clean, triggered = (
        TensorSamples(in_8_bits(x), labels, description=description, source=source)
        for x, source in ((clean, "clean"), (triggered, "triggered"))
    )
    return Evidence(clean, triggered, range(count) if paired else [])


def everything(samples):
    return samples.load(range(len(samples)))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
