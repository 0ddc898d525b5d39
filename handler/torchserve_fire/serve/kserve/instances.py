"""KServe's v1 protocol: several samples in one request, `{"instances": [...]}`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from ...core.answer import Answer
from ...errors import InputError

KEY = "instances"


def instances_in(body: Any, most: int) -> list[Any] | None:
    """Return the instances of a request of the v1 protocol; None where it is none.

    Args:
        body: of the request, decoded or not.
        most: how many there may be.

    Raises:
        InputError: there are none, or too many.
    """
    if isinstance(body, bytes) and body[:1] == b"{" and b'"instances"' in body:
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return None
    if not isinstance(body, dict) or set(body) != {KEY}:
        return None
    instances = body[KEY]
    if not isinstance(instances, list) or not 1 <= len(instances) <= most:
        # Each may be a few bytes long, and takes the memory of a sample.
        raise InputError(
            f"{KEY}: expected a list of 1 to {most} samples (batchSize in model-config.yaml)",
            reason="JSON",
        )
    return instances


def predictions(answers: Sequence[Answer]) -> Answer:
    """Return the answer to a request, of the answers to its instances.

    It is refused where one of them is. Of each header, the instances' values stand in their order,
    with commas between them.
    """
    headers = {
        name: ", ".join(answer.headers.get(name, "") for answer in answers)
        for name in dict.fromkeys(name for answer in answers for name in answer.headers)
    }
    for place, answer in enumerate(answers):
        if answer.status != HTTPStatus.OK:
            said = answer.body.get("message", answer.body.get("error"))
            kind = answer.body.get("type", InputError.__name__)
            body = {"code": answer.status, "type": kind, "message": f"{KEY}[{place}]: {said}"}
            return Answer(answer.status, body, headers)
    return Answer(HTTPStatus.OK, {"predictions": [answer.body for answer in answers]}, headers)
