"""Whether a server answers requests as it should."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from torchserve_fire.errors import FireError

from ..archive.load_as_worker import Answer, Body, decoded
from .http_session import open_session
from .server_errors import unanswered
from .tokens import Token, current

# Another device or thread count rounds differently; a wrong answer is farther away.
TOLERANCE = 0.01
# As JSON writes them: of others, such as dates, versions and padded ones, each digit counts.
NUMBER = re.compile(r"(?<![\d.])((?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\d.])")
HEADERS = ("x-fire-bundle", "x-fire-flagged", "x-fire-repaired")


def check_predictions(
    url: str,
    token: Token,
    bodies: Sequence[Body],
    expected: Sequence[Answer],
    ca: Path | None = None,
) -> None:
    """Send each body to a prediction address and compare what comes back.

    Args:
        url: the address, with the model's name and version.
        token: the inference token, None where the server asks for none.
        bodies: what to send.
        expected: what must come back: the status, this project's headers, and the same classes
            with probabilities within 0.01.
        ca: certificates of the authorities to trust over https; the public ones where None.

    Raises:
        FireError: an answer is another, or none comes.
    """
    session = open_session(current(token), ca)
    for body, wanted in zip(bodies, expected, strict=True):
        try:
            answer = session.post(
                url,
                data=body.content,
                headers={"Content-Type": body.content_type},
                timeout=(10, 120),
            )
        except requests.RequestException as error:
            raise FireError(f"POST {url}: no answer ({unanswered(error)})") from None
        if answer.status_code != wanted.status:
            raise FireError(
                f"POST {url}: status {answer.status_code}, expected {wanted.status}: "
                f"{' '.join(answer.text.split())[:200]}"
            )
        for name in HEADERS:
            found, right = answer.headers.get(name), wanted.headers.get(name)
            if found != right:
                raise FireError(f"POST {url}: header {name}: {found}, expected {right}")
        found_body = decoded(answer.content)
        if not same_answer(found_body, wanted.body):
            raise FireError(
                f"POST {url}: answered {_short(found_body)}, expected {_short(wanted.body)} as "
                "computed here from the same archive"
            )


class Anything:
    """Stands in an answer for what is another one each time."""

    def __repr__(self) -> str:
        return "(anything)"


def in_common(one: Any, other: Any) -> Any:
    """Return an answer with `Anything` where another answer to the same request differs from it."""
    if same_answer(one, other):
        return one
    if isinstance(one, Mapping) and isinstance(other, Mapping) and set(one) == set(other):
        return {key: in_common(one[key], other[key]) for key in one}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [in_common(*pair) for pair in zip(one, other, strict=True)]
    return Anything()


def same_answer(found: Any, expected: Any) -> bool:
    """Whether two answers are the same but for rounding; whole numbers are not rounded."""
    if isinstance(expected, Anything):
        return True
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        if _are_probabilities(found) and _are_probabilities(expected):
            return _same_probabilities(found, expected)
        return set(found) == set(expected) and all(
            same_answer(found[key], expected[key]) for key in found
        )
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(same_answer, found, expected))
    if isinstance(found, int) and isinstance(expected, int):
        return found == expected
    if _is_number(found) and _is_number(expected):
        return bool(abs(found - expected) <= TOLERANCE * max(1.0, abs(expected)))
    if isinstance(found, str) and isinstance(expected, str):
        return _same_text(found, expected)
    return bool(found == expected)


def _same_probabilities(found: Mapping[str, float], expected: Mapping[str, float]) -> bool:
    if len(found) != len(expected):
        return False
    # Where rounding decides which class is the last of the top k, either may stand there.
    last = min(expected.values(), default=0.0)
    return all(
        abs(found.get(name, last) - expected.get(name, last)) <= TOLERANCE
        for name in set(found) | set(expected)
    )


def _same_text(found: str, expected: str) -> bool:
    """Whether two texts are the same but for numbers that differ by rounding."""
    pairs = list(zip(NUMBER.split(found), NUMBER.split(expected), strict=False))
    if len(NUMBER.findall(found)) != len(NUMBER.findall(expected)):
        return False
    # What is split at numbers has these in every second place.
    return all(
        same_answer(json.loads(one), json.loads(other)) if place % 2 else one == other
        for place, (one, other) in enumerate(pairs)
    )


def _are_probabilities(answer: Mapping[str, Any]) -> bool:
    return bool(answer) and all(_is_number(value) and 0 <= value <= 1 for value in answer.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short(answer: Any) -> str:
    if isinstance(answer, bytes):
        return f"{len(answer)} bytes that are no text"
    return json.dumps(answer, default=repr)[:200]
