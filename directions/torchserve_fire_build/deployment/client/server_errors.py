"""What goes wrong between a client and a server."""

from __future__ import annotations

import requests

from torchserve_fire.errors import FireError

INVALID_KEY = "InvalidKeyException"
"""TorchServe's name for an error with a token."""

TOKEN_REFUSED = (
    "TorchServe refused the token: none was given, or it is wrong or expired; give --key-file with "  # noqa: S105
    "the server's key_file.json, whose tokens are renewed when they expire; each address takes its "
    "own token: are the management and the inference address what they should be?"
)


OTHER_PORTS = "a server on other ports needs both --management and --inference"


class ServerError(FireError):
    """TorchServe refused a request, or could not be reached.

    Attributes:
        status: HTTP status code of its answer, None where there was none.
        kind: TorchServe's name for the error, "" where there is none.
    """

    def __init__(self, message: str, status: int | None = None, kind: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class TokenError(ServerError):
    """TorchServe refused a token, or wants one and got none."""


class ModelApiOffError(ServerError):
    """The server registers and unregisters nothing."""


def unanswered(error: requests.RequestException) -> str:
    """Return why the inference API did not answer, and where nobody listens, what to do."""
    name = type(error).__name__
    if isinstance(error, requests.ConnectionError) and "refused" in str(error):
        return f"{name}, refused: --inference names another address ({OTHER_PORTS})"
    return name
