"""The choices so far, the most worth first."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .choice import Choice


class Ranking:
    """Choices in the order of their worth; of those that are worth the same, the first comes first.

    Attributes:
        choices: the most worth first.
    """

    def __init__(self) -> None:
        self.choices: list[Choice] = []

    @property
    def layers(self) -> list[str]:
        """The layers that are repaired at, that of the best choice first."""
        return list(dict.fromkeys(choice.repair.layer for choice in self.choices))

    def add(self, choices: Iterable[Choice]) -> None:
        """Take in choices, one by one as they come."""
        for choice in choices:
            self.choices.append(choice)
            self.choices.sort(key=lambda each: -each.worth)

    def worth_of(self, place: int) -> float:
        """Return the worth of the choice at a place, from 1 on; less than any where none is."""
        return self.choices[place - 1].worth if len(self.choices) >= place else -math.inf

    def worth_of_layer(self, place: int) -> float:
        """Return what the best choice at a layer is worth, by the layer's place, likewise."""
        layers = self.layers
        if len(layers) < place:
            return -math.inf
        return next(c.worth for c in self.choices if c.repair.layer == layers[place - 1])
