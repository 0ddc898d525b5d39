"""The choices so far, in the order of their worth."""

from __future__ import annotations

from collections.abc import Iterable

from .choice import Candidate, Choice

DIGITS = 6
"""Decimals in which worths are compared."""


class Ranking:
    """Choices in the order of their worth; among equals, the one that was announced first is first.

    Attributes:
        choices: the choices, the one of the highest worth first.
    """

    def __init__(self) -> None:
        self.choices: list[Choice] = []
        self._announced: dict[Candidate, int] = {}

    @property
    def layers(self) -> list[str]:
        """The layers that are repaired, in the order of their best choice."""
        return list(dict.fromkeys(choice.repair.layer for choice in self.choices))

    def announce(self, candidates: Iterable[Candidate]) -> None:
        """Say which candidates are tried next. Their choices may be added in another order."""
        for candidate in candidates:
            self._announced.setdefault(candidate, len(self._announced))

    def add(self, choices: Iterable[Choice]) -> None:
        """Add choices, one by one as they arrive."""
        for choice in choices:
            self.choices.append(choice)
            # Rounding in the forward pass does not decide between equals.
            self.choices.sort(key=self._place)

    def _place(self, choice: Choice) -> tuple[float, int]:
        return -round(choice.worth, DIGITS), self._announced[choice.repair]

    def at(self, place: int) -> Choice | None:
        """Return the choice at a place (the best is 1); None if there is none."""
        return self.choices[place - 1] if len(self.choices) >= place else None

    def at_layer(self, place: int) -> Choice | None:
        """Return the best choice at the layer at a place in `layers` (the best is 1), or None."""
        layers = self.layers
        if len(layers) < place:
            return None
        return next(c for c in self.choices if c.repair.layer == layers[place - 1])
