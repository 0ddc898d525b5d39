"""The exceptions of what runs beforehand; each message says what, where, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from torchserve_fire.errors import FireError
from torchserve_fire.errors import OutputError as OutputError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest of the known names; empty if none is near."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


class SamplesError(FireError):
    """A folder or file of calibration or evaluation samples cannot be used."""


class CalibrationError(FireError):
    """No bundle can be built from the samples that were given."""


class UndecidedError(CalibrationError):
    """Nobody can tell from what was given, and in the time that was given, whether it is so."""


class OptionError(FireError):
    """An argument is not one of the values that it may have."""


class UnknownNameError(FireError, KeyError):
    """There is no method of this name.

    Args:
        name: the unknown one.
        known: the names that there are.
    """

    def __init__(self, name: object, known: Iterable[str]) -> None:
        names = list(known)
        hint = did_you_mean(str(name), names)
        super().__init__(f"{name!r}: expected one of {', '.join(names)}{hint}")

    def __str__(self) -> str:
        """Return the message; a KeyError would put it in quotes."""
        return str(self.args[0])


class NoTriggerError(FireError):
    """The samples were searched for a trigger and none was found: there is nothing to repair."""


class SanitizeError(FireError):
    """The model's weights cannot be changed in the way that was asked for."""


class ExportError(FireError):
    """A model with its repair cannot be written as a graph that answers as it does."""


class AttackResultError(FireError):
    """What another project's attack has written cannot be imported."""
