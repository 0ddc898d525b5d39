"""Features made of noise around a mean for each class."""

import torch

from torchserve_fire_build.screening.features import Features

CHANNELS = 6


def made(predicted, generator, shift=0.0, layers=2):
    """Features in which class c lies 10 along channel c, and all are moved along the last one."""
    predicted = torch.tensor(predicted)
    found = {}
    for layer in range(layers):
        features = torch.randn(len(predicted), CHANNELS, generator=generator)
        features[torch.arange(len(predicted)), predicted] += 10
        features[:, -1] += shift
        found[f"layer{layer}"] = features
    return Features(found, predicted)


def seeded(seed):
    return torch.Generator().manual_seed(seed)
