"""The victims that altered triggers are sent to: those trained here, and published ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from .altered_triggers import ALTERED, stamp_altered
from .measure import STAMP_SEED, Held, draw_test_images, hold, predict, share
from .published import PublishedVictim, find_published, load_published, others_of
from .victims.attacks.attack import Attack
from .victims.catalogue import VICTIMS, benign_twin
from .victims.data import Data, Images
from .victims.recipe import Recipe
from .victims.train import obtain_backdoored, obtain_victim, victim_file


@dataclass(frozen=True)
class Subject:
    """A victim, and the images to measure it on.

    Attributes:
        model: in evaluation mode, for images normalised by `normalise`.
        others: models of the same data set that do not know the trigger: the benign twin, or other
            published victims.
        attack: that the victim fell to.
        pool: images to draw evidence from.
        held: the images to measure on, with the trigger as it is, and without.
    """

    model: nn.Module
    others: Sequence[nn.Module]
    attack: Attack
    pool: Images
    held: Held


@dataclass(frozen=True)
class Shown:
    """Images with an altered trigger, and what the unrepaired victim makes of them.

    Attributes:
        images: with their true labels, (M).
        predictions: of the victim, (M,) int64.
        ceiling: the highest recovered accuracy that can be asked for, in [0, 1].
    """

    images: Images
    predictions: Tensor
    ceiling: float


Obtain = Callable[[Data, Path, int], Subject]
"""Returns a victim, given the images, the cache, and how many test images to measure on."""


def find_victims(published: Path | None, names: Sequence[str] | None) -> dict[str, Obtain]:
    """Return how to obtain each victim, by its name.

    Args:
        published: folder of published victims; None for those that are trained here.
        names: which of them; None for all.

    Raises:
        SystemExit: the folder holds no victims, or there is none of one of the names.
    """
    found: Mapping[str, Obtain]
    if published is None:
        found = {recipe.name: partial(_obtain_trained, recipe) for recipe in VICTIMS}
    else:
        victims = find_published(published)
        found = {v.name: partial(_obtain_published, v, victims) for v in victims}
    if unknown := set(names or ()) - set(found):
        raise SystemExit(
            f"--victims: no {', '.join(sorted(unknown))} among {', '.join(sorted(found))}"
        )
    return {name: obtain for name, obtain in found.items() if names is None or name in names}


def show_altered(subject: Subject) -> dict[str, Shown]:
    """Return the test images with each altered trigger, by the name of the alteration.

    The ceiling is the victim's accuracy on the images without a trigger, or, if that is lower, that
    of the best other model on those with the altered one: what a trigger covers, nobody can see.
    """
    clean = subject.held.clean.at(subject.held.partners)
    ceiling = share(predict(subject.model, clean) == clean.labels)
    shown = {}
    for name in ALTERED:
        images = stamp_altered(subject.attack, clean, name, STAMP_SEED)
        read = [share(predict(other, images) == images.labels) for other in subject.others]
        seen = min(ceiling, max(read, default=ceiling))
        shown[name] = Shown(images, predict(subject.model, images), seen)
    return shown


def _obtain_trained(recipe: Recipe, data: Data, cache: Path, count: int) -> Subject:
    """Return a victim of the catalogue; its benign twin, where the cache holds it."""
    victim, attack = obtain_backdoored(recipe, data, cache)
    twin = benign_twin(recipe)
    others = []
    if victim_file(twin, data, cache).exists():
        others = [obtain_victim(twin, data, cache).model]
    return Subject(victim.model, others, attack, data.pool, _hold(attack, data, count))


def _obtain_published(
    victim: PublishedVictim,
    victims: Sequence[PublishedVictim],
    data: Data,
    cache: Path,
    count: int,
) -> Subject:
    """Return a published victim; the others of its folder and data set read its trigger."""
    model, attack = load_published(victim, data)
    others = [load_published(v, data)[0] for v in others_of(victim, victims)]
    return Subject(model, others, attack, data.pool, _hold(attack, data, count))


def _hold(attack: Attack, data: Data, count: int) -> Held:
    images, _ = draw_test_images(data)
    return hold(attack, images.at(torch.arange(count)))
