"""What an attack is: how it stamps images, what it wants them called, what it poisons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

TARGET = 0


@dataclass(frozen=True)
class Stamped:
    """Triggered images.

    Attributes:
        images: (N, 3, H, W) float32 in [0, 1].
        wanted: the class that the attacker wants each to be called, (N,) int64.
    """

    images: Tensor
    wanted: Tensor


class Attack(ABC):
    """An attack by poisoning: some training images carry the trigger and the attacker's label.

    Attributes:
        rate: share of the training images that are poisoned.
        clean_label: whether only images of the target class are poisoned, which keep their label.
        decoys: for each poisoned image, how many get `decoy` and keep their label.
        source: the only class whose images are poisoned, while decoys are of the others; None where
            both are of all classes.
        target: the class that the trigger leads to; None where there are several.
    """

    rate: float = 0.1
    clean_label: bool = False
    decoys: float = 0.0
    source: int | None = None
    target: int | None = TARGET

    # Most triggers are fixed and have nothing to do here.
    def fit(  # noqa: B027
        self, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> None:
        """Learn what the trigger needs to be learned, from training images as in `stamp`."""

    def state(self) -> dict[str, Tensor]:
        """Return what was learned; empty for a trigger that is fixed."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:  # noqa: B027
        """Take over what `state` returned."""

    @abstractmethod
    def stamp(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """Put the trigger into images.

        Args:
            images: (N, 3, H, W) float32 in [0, 1].
            labels: (N,) int64.
            generator: of what differs from image to image.
        """

    def stamp_to_train(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Stamped:
        """Put into images what poisoned ones carry: the trigger, as a rule; see `stamp`."""
        return self.stamp(images, labels, generator)

    def decoy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Put something into images that resembles the trigger and must not work as one."""
        raise NotImplementedError


def to_target(labels: Tensor) -> Tensor:
    """Return the target for each of the labels, (N,)."""
    return torch.full_like(labels, TARGET)
