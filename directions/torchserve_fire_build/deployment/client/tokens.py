"""The tokens that a TorchServe asks for: given, or in the file that it writes, and renewed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from torchserve_fire.errors import FireError

from .http_session import ANSWER_SECONDS, CONNECT_SECONDS, open_session
from .server_errors import TokenError

KEY_FILE = "key_file.json"

Token = str | Callable[[], str | None] | None
"""A token, or what returns the one that is valid now; None where the server asks for none."""

EXPIRES = "expiration time"
SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


@dataclass(frozen=True)
class Tokens:
    """The tokens of a running server.

    Attributes:
        inference: for predictions.
        management: for registering, describing, scaling.
        api: for asking for new tokens when these expire.
    """

    inference: str
    management: str
    api: str


def current(token: Token) -> str | None:
    """Return the token that is valid now."""
    return token() if callable(token) else token


def read_tokens(key_file: Path) -> Tokens:
    """Read the tokens that a server wrote to `key_file.json`.

    Raises:
        FireError: the file is missing or is not such a file.
    """
    keys = _read(key_file)
    return Tokens(*(keys[name]["key"] for name in ("inference", "management", "API")))


class ServerTokens:
    """The tokens for one server: those given, else those of its key file.

    A token of the file that has expired is renewed, as TorchServe does with the file's API key: it
    writes the file anew. Nobody could use the old one any more.

    Args:
        management_url: address of the management API, which renews tokens.
        key_file: the file that the server writes; None where there is none.
        management: a management token to use instead.
        inference: an inference token to use instead.
        ca: certificates of the authorities to trust over https; the public ones where None.
    """

    def __init__(
        self,
        management_url: str,
        key_file: Path | None,
        management: str | None = None,
        inference: str | None = None,
        ca: Path | None = None,
    ) -> None:
        self._url = management_url.rstrip("/")
        self._key_file = key_file
        self._given = {"management": management, "inference": inference}
        self._ca = ca

    @property
    def found(self) -> bool:
        """Whether there is any token."""
        return self._key_file is not None or any(self._given.values())

    def management(self) -> str | None:
        """Return the management token, None where there is none.

        Raises:
            FireError: the key file cannot be read, or is not this server's.
        """
        return self._current("management")

    def inference(self) -> str | None:
        """Return the inference token, as `management` does."""
        return self._current("inference")

    def _current(self, kind: str) -> str | None:
        given = self._given[kind]
        if given is not None or self._key_file is None:
            return given
        entry = _read(self._key_file)[kind]
        if not _has_expired(entry):
            return str(entry["key"])
        if not self._renew(kind, entry[EXPIRES]):
            return str(entry["key"])
        renewed = _read(self._key_file)[kind]
        if renewed["key"] == entry["key"]:
            raise TokenError(
                f"{self._key_file}: its {kind} token expired at {entry[EXPIRES]}, and the new one "
                "is not in it: it is a copy; give --key-file with the file in the server's folder"
            )
        return str(renewed["key"])

    def _renew(self, kind: str, expired: str) -> bool:
        """Ask for a new token; return whether the server has made one."""
        where = f"{self._url}/token"
        try:
            with open_session(read_tokens(self._key_file or Path()).api, self._ca) as session:
                answer = session.get(
                    where, params={"type": kind}, timeout=(CONNECT_SECONDS, ANSWER_SECONDS)
                )
        except requests.RequestException:
            # The request that the token is for will say so.
            return False
        if answer.status_code == HTTPStatus.NOT_FOUND:
            # It asks for no tokens; the file is of an earlier run.
            return False
        if answer.status_code != HTTPStatus.OK:
            raise TokenError(
                f"{self._key_file}: its {kind} token expired at {expired}, and TorchServe at "
                f"{self._url} refused its API key: is it the {KEY_FILE} of this server?"
            )
        return True


def _read(key_file: Path) -> dict[str, dict[str, str]]:
    try:
        keys: Any = json.loads(key_file.read_text(encoding="utf-8"))
        return {
            name: {field: str(value) for field, value in keys[name].items() if keys[name]["key"]}
            for name in ("inference", "management", "API")
        }
    except OSError as error:
        raise FireError(f"{key_file}: cannot read the tokens: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FireError(f"{key_file}: expected the {KEY_FILE} that TorchServe writes") from None


def _has_expired(entry: dict[str, str]) -> bool:
    # TorchServe writes UTC, to the nanosecond.
    written = SECONDS.match(entry.get(EXPIRES, ""))
    if written is None:
        return False
    expires = datetime.fromisoformat(written[0]).replace(tzinfo=timezone.utc)
    return datetime.now(timezone.utc) >= expires
