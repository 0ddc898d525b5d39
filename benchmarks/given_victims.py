"""Victims that are given as files: those that others published, and those of a zoo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from torchserve_fire.model.config import load_config
from torchserve_fire.model.load_model import load_model

from .published import PublishedAttack, Renormalised, find_published, load_published
from .victims.data import Data
from .victims.data_sets import CIFAR
from .zoo import ATTACKS, TARGET, load_trigger


@dataclass(frozen=True)
class GivenVictim:
    """A victim that is not trained here.

    Attributes:
        name: how results call it.
        data: name of its data set.
        model: in evaluation mode, for images normalised by `victims.train.normalise`.
        attack: its trigger, with the target.
    """

    name: str
    data: str
    model: nn.Module
    attack: PublishedAttack


def given_victims(
    published: Path | None, zoo: Path | None, images: Mapping[str, Data]
) -> Iterator[GivenVictim]:
    """Yield the victims of two folders, as far as their images are there.

    Args:
        published: folder as `benchmarks.published` describes it; None for none.
        zoo: folder as `benchmarks.zoo` describes it; None for none.
        images: by the name of the data set.
    """
    for victim in find_published(published) if published else ():
        for name, data in images.items():
            if name.startswith(victim.settings.stem.rpartition("-")[2]):
                yield GivenVictim(victim.name, name, *load_published(victim, data))
    if zoo and CIFAR in images:
        config = load_config(zoo / "model-config.yaml")
        for trigger in ATTACKS:
            weights = zoo / f"slim_resnet18_{trigger}.pth"
            loaded = load_model(zoo / "slim_resnet18.py", weights, config.model_class)
            model = Renormalised(loaded.model, config.mean, config.std)
            attack = PublishedAttack(load_trigger(zoo / "triggers.py", trigger), TARGET)
            yield GivenVictim(f"zoo-{trigger}", CIFAR, model, attack)
