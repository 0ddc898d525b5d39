"""Victims that others published: weights, a model file, the settings of its input, triggers.

A folder holds them. `triggers.py` has a function of each trigger's name that turns images
(N, 3, H, W) in [0, 1] into triggered ones; the other Python file is the model file. Weights are
`MODEL_TRIGGER.pth` with the settings `model-config.yaml`, or `MODEL_DATA-TRIGGER.pth` with
`model-config-DATA.yaml`, where MODEL is the name of the model file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from torchserve_fire.model.config import load_config
from torchserve_fire.model.load_model import load_model

from .measure import predict
from .victims.attacks.attack import Attack, Stamped
from .victims.data import Data, Images
from .victims.poison import to_float, to_pixels
from .victims.train import MEAN, STD
from .zoo import load_trigger

SHOWN = 200
"""Triggered images that show the target."""


@dataclass(frozen=True)
class PublishedVictim:
    """Where the files of a published victim are.

    Attributes:
        name: how results call it: the folder's name, and what tells its weights from the others.
        weights: a file of plain tensors.
        model_file: Python file with the model's class.
        settings: of the model's input.
        triggers: Python file with the function `trigger`.
        trigger: name of that function.
    """

    name: str
    weights: Path
    model_file: Path
    settings: Path
    triggers: Path
    trigger: str


class PublishedAttack(Attack):
    """A trigger that is given as a function, with one target.

    Args:
        trigger: turns images (N, 3, H, W), float32 in [0, 1], into triggered ones.
        target: class index.
    """

    def __init__(self, trigger: Callable[[Tensor], Tensor], target: int) -> None:
        self._trigger = trigger
        self.target: int = target

    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """Put the trigger into images; it is the same in all of them."""
        return Stamped(self._trigger(images), torch.full_like(labels, self.target))


class Renormalised(nn.Module):
    """A model with an input of its own mean and deviation, for images as the victims take them.

    Args:
        model: in evaluation mode.
        mean: per channel, of the model's input.
        std: per channel, of the model's input.
    """

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        own_mean, own_std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
        self._scale = torch.tensor(STD).view(3, 1, 1) / own_std
        self._offset = (torch.tensor(MEAN).view(3, 1, 1) - own_mean) / own_std
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (N, classes), of images (N, 3, H, W), normalised by `normalise`."""
        return self.model(x * self._scale + self._offset)


def find_published(folder: Path) -> list[PublishedVictim]:
    """Return the victims of a folder, in alphabetical order.

    Raises:
        SystemExit: it does not hold `triggers.py`, one other Python file, and weights for it.
    """
    triggers = folder / "triggers.py"
    others = [file for file in folder.glob("*.py") if file != triggers]
    if not triggers.exists() or len(others) != 1:
        raise SystemExit(f"{folder}: expected triggers.py and one other Python file, the model's")
    (model_file,) = others
    found = []
    for weights in sorted(folder.glob(f"{model_file.stem}_*.pth")):
        which = weights.stem.removeprefix(f"{model_file.stem}_")
        data, _, trigger = which.rpartition("-")
        settings = folder / (f"model-config-{data}.yaml" if data else "model-config.yaml")
        name = f"{folder.resolve().name}-{which}"
        found.append(PublishedVictim(name, weights, model_file, settings, triggers, trigger))
    if not found:
        raise SystemExit(f"{folder}: expected weights, {model_file.stem}_TRIGGER.pth")
    return found


def others_of(victim: PublishedVictim, victims: Sequence[PublishedVictim]) -> list[PublishedVictim]:
    """Return the victims of the same data set by other triggers."""
    return [v for v in victims if v.settings == victim.settings and v.trigger != victim.trigger]


def load_published(victim: PublishedVictim, data: Data) -> tuple[nn.Module, PublishedAttack]:
    """Return a published model, for images normalised by `normalise`, and its attack.

    The target is what the model calls most of the triggered images that are not measured on.

    Raises:
        SystemExit: the images have other classes than the model.
    """
    config = load_config(victim.settings)
    loaded = load_model(victim.model_file, victim.weights, config.model_class)
    model = Renormalised(loaded.model, config.mean, config.std)
    trigger = load_trigger(victim.triggers, victim.trigger)
    shown = data.pool.at(torch.arange(min(SHOWN, len(data.pool))))
    with torch.no_grad():
        classes = model(to_float(shown.pixels[:1])).shape[1]
    if classes != data.classes:
        raise SystemExit(
            f"{victim.name}: {classes} classes, but the images have {data.classes}: name the "
            "victims of these images with --victims"
        )
    triggered = to_pixels(trigger(to_float(shown.pixels)))
    target = predict(model, Images(triggered, shown.labels)).mode().values
    return model, PublishedAttack(trigger, int(target))
