"""The exceptions of what runs beforehand; each message says what, where, and what was expected."""

from __future__ import annotations

from torchserve_fire.errors import FireError
from torchserve_fire.errors import OutputError as OutputError


class SamplesError(FireError):
    """A folder or file of calibration or evaluation samples cannot be used."""


class CalibrationError(FireError):
    """No bundle can be built from the samples that were given."""


class NoTriggerError(FireError):
    """The samples were searched for a trigger and none was found: there is nothing to repair."""


class SanitizeError(FireError):
    """The model's weights cannot be changed in the way that was asked for."""
