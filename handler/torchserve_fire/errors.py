"""The exceptions of this project; each message says what is wrong, where, and what was expected.

They derive from ValueError because TorchServe rolls a failed registration back cleanly on a
ValueError, while a RuntimeError from a handler's `initialize` leaves a version without workers.
"""

from __future__ import annotations


class FireError(ValueError):
    """Base of every error that this project raises on purpose."""


class BundleError(FireError):
    """A direction bundle is damaged, of an unknown format, or does not fit the model."""


class ConfigError(FireError):
    """`model-config.yaml` holds a value, or a key, that is not understood."""


class ModelError(FireError):
    """The model's file, class or weights could not be loaded."""


class SignatureError(FireError):
    """A bundle or an archive is not signed by a key that is trusted, or changed since."""


class AttachError(FireError):
    """The corrections cannot be attached to this model, so it must not serve."""


class RepairError(FireError):
    """A forward pass went by without the corrections that should have judged or repaired it."""


class SwapError(FireError):
    """A bundle was not put in the place of the one that serves, which goes on serving."""


class OutputError(FireError):
    """A file cannot be written where it was asked for."""


class InputError(FireError):
    """One request's input is unusable; its client gets the reason.

    Attributes:
        status: HTTP status code of the answer.
        reason: in a word or two, the same for all such inputs: they are counted by it.
    """

    def __init__(self, message: str, status: int = 400, reason: str = "other") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its name where it has no message."""
    if isinstance(error, SystemExit):
        return "it ends the process (SystemExit)"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
