"""Whether a served model answers a real prediction, through its bundle."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import InputDescription
from torchserve_fire.format.fields import Fields
from torchserve_fire.format.table import read_table

from ..archive.load_as_worker import Body, content_type
from ..archive.random_bodies import random_bodies
from .http_session import open_session
from .management import NOT_SERVED, Management
from .server_errors import INVALID_KEY, TOKEN_REFUSED, TokenError, unanswered
from .tokens import Token, current

BUNDLE_HEADER = "x-fire-bundle"
FLAGGED_HEADER = "x-fire-flagged"


class NotReadyError(FireError):
    """The model does not answer, or not through the bundle that was asked for."""


@dataclass(frozen=True)
class Probe:
    """Which model is asked for a prediction, and what the answer must be.

    Attributes:
        inference: URL of the server's inference API.
        token: token for that.
        name: the model's name.
        version: its version, None for the default one.
        digest: of the bundle that must have been used, None for any.
        timeout: seconds that the answer may take.
        ca: certificates of the authorities to trust over https; the public ones where None.
    """

    inference: str
    token: Token
    name: str
    version: str | None
    digest: str | None
    timeout: float
    ca: Path | None = None


@dataclass(frozen=True)
class Described:
    """What the model's own handler says of itself.

    Attributes:
        body: with a random input of the size that it takes, or the example in its archive.
        mode: what it does with flagged requests.
    """

    body: Body
    mode: str


def describe_served(management: Management, probe: Probe) -> Described:
    """Ask the management API what the model's own handler says of itself.

    Raises:
        FireError: the server does not answer in time, or the handler does not say.
    """
    try:
        model = management.describe(
            probe.name, probe.version, customized=True, timeout=probe.timeout
        )
    except TokenError:
        raise  # The server may be as ready as can be.
    except FireError as error:
        raise NotReadyError(str(error)) from error
    said: Any = model.customized
    try:
        taken, mode = said["input"], str(said["mode"])
        table = read_table(Fields(taken, "input", FireError)) if "columns" in taken else None
        description = InputDescription(taken["kind"], tuple(taken["shape"]), table=table)
        example = taken.get("example")
        if example is not None:
            body = Body(base64.b64decode(example["body"]), content_type(str(example["suffix"])))
            return Described(body, mode)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise NotReadyError(
            f"{probe.name}: its handler does not say what it takes, as one that holds no repair: "
            "torchserve-fire status shows what is served; else give --input"
        ) from None
    if "prepared_by" in taken and description.kind != "image":
        raise FireError(
            f"{probe.name}: its own handler prepares its input, and its archive has no example: "
            "give --input, the body of a request"
        )
    return Described(random_bodies(description)[0], mode)


def check_ready(probe: Probe, body: Body) -> str:
    """Send a prediction and check that it was answered through a bundle.

    An input that mode `reject` refuses as flagged counts, too.

    Returns:
        The digest of the bundle.

    Raises:
        NotReadyError: there is no such answer within the timeout.
        TokenError: the token was refused.
    """
    url = f"{probe.inference.rstrip('/')}/predictions/{quote(probe.name, safe='')}"
    if probe.version is not None:
        url += f"/{quote(probe.version, safe='')}"
    started = time.monotonic()
    with open_session(current(probe.token), probe.ca) as session:
        try:
            answer = session.post(
                url,
                data=body.content,
                headers={"Content-Type": body.content_type},
                timeout=probe.timeout,
            )
        except requests.RequestException as error:
            waited = time.monotonic() - started
            reason = f"{unanswered(error)}, after {waited:.1f} s"
            raise NotReadyError(f"POST {url}: no answer ({reason})") from None
    refused = (
        answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
        and answer.headers.get(FLAGGED_HEADER) == "true"
    )
    if INVALID_KEY in answer.text and answer.status_code == HTTPStatus.BAD_REQUEST:
        raise TokenError(f"POST {url}: {TOKEN_REFUSED}", answer.status_code)
    if answer.status_code != HTTPStatus.OK and not refused:
        said = " ".join(answer.text.split())[:200]
        hint = NOT_SERVED if answer.status_code == HTTPStatus.NOT_FOUND else ""
        raise NotReadyError(f"POST {url}: status {answer.status_code}, expected 200: {said}{hint}")
    found = answer.headers.get(BUNDLE_HEADER)
    if found is None:
        raise NotReadyError(f"POST {url}: answered without repair: no header {BUNDLE_HEADER}")
    if probe.digest not in (None, found):
        raise NotReadyError(f"POST {url}: answered with bundle {found}, expected {probe.digest}")
    return found
