"""Model files for the architectures that BackdoorBench trains: torchvision's, and one of ours."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torchvision import models

from . import preact_resnet

UPSAMPLED = "1."
"""Before the names of all weights where BackdoorBench enlarges the images first."""

OF_TORCHVISION = '''\
"""{name} of torchvision, for {classes} classes; imported from a result of BackdoorBench."""

from torch import nn
from torchvision.models import get_model


class Model(nn.Module):
    def __new__(cls):
        return get_model("{name}", num_classes={classes})
'''

ENLARGED = '''\
"""{name} of torchvision, for {classes} classes, on images that are made larger first.

Imported from a result of BackdoorBench.
"""

from torch import nn
from torchvision.models import get_model


class Model(nn.Module):
    def __new__(cls):
        return nn.Sequential(
            nn.Upsample(size=(224, 224), mode="bilinear"),
            get_model("{name}", num_classes={classes}),
        )
'''


def model_file_for(name: str, classes: int, weights: Iterable[str]) -> str | None:
    """Return the text of a model file.

    Args:
        name: of the architecture, as BackdoorBench calls it.
        classes: number of classes.
        weights: their names.

    Returns:
        The text; None of an architecture that is not known here.
    """
    if name == "preactresnet18":
        text = Path(preact_resnet.__file__).read_text(encoding="utf-8")
        return text.replace(f"CLASSES = {preact_resnet.CLASSES}\n", f"CLASSES = {classes}\n")
    if name not in models.list_models(module=models):
        return None
    enlarged = all(key.startswith(UPSAMPLED) for key in weights)
    return (ENLARGED if enlarged else OF_TORCHVISION).format(name=name, classes=classes)
