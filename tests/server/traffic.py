"""Requests that carry their identity in what they show, and clients that send them.

Three quadrants of an 8 x 8 image are as bright as a number says, so that the right probabilities
of each number are others: an answer to another request is seen as wrong.
"""

from __future__ import annotations

import base64
import io
import json
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import requests
from PIL import Image

from tests.tiny import CLASSES, image
from torchserve_fire_build.deployment.server.torchserve import TorchServe

LEVELS, STEP = 14, 9
NUMBERS = LEVELS**3
TOLERANCE = 1e-4
PAUSE_SECONDS = 0.01
"""Between a client's requests: a worker that is being started needs its share of few cores."""
BAD = (
    b"not an image",
    image(1)[:60],
    b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
    b'{"data": 3}',
    b"[[1, 2], [3]]",
    base64.b64encode(image(2)),
)


@dataclass(frozen=True)
class Outcome:
    """What one request was answered.

    Attributes:
        index: which request.
        status: HTTP status code, or the code in the body over gRPC; 0 where no answer came.
        body: the decoded answer, or the error's text.
        bundle: what x-fire-bundle said, "" over gRPC.
    """

    index: int
    status: int
    body: object
    bundle: str = ""


Client = Callable[[int], Outcome]


def is_bad(index: int) -> bool:
    """One request of ten."""
    return index % 10 == 7


def is_triggered(index: int) -> bool:
    return index % 3 == 1


def body_of(index: int) -> bytes:
    """Return the request of this index: an image that shows its number, or bad input."""
    if is_bad(index):
        return BAD[index // 10 % len(BAD)]
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    for quadrant, level in enumerate(_levels(index), 1):
        row, column = divmod(quadrant, 2)
        pixels[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = STEP * level
    if is_triggered(index):
        pixels[0, 0] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def right_answer(index: int) -> dict[str, float]:
    """Return what the repaired model answers to a good request, worked out by hand."""
    # The trigger is one of the 16 pixels of its quadrant; what it adds beyond that is repaired.
    first = 255 / 16 if is_triggered(index) else 0.0
    logits = [10 / 255 * level for level in (first, *(STEP * each for each in _levels(index)))]
    total = sum(map(math.exp, logits))
    return {name: math.exp(z) / total for name, z in zip(CLASSES, logits, strict=True)}


def is_right(outcome: Outcome) -> bool:
    """Whether it is this request's own answer: its probabilities, or a reason to refuse it."""
    body = outcome.body
    if is_bad(outcome.index):
        return (
            400 <= outcome.status < 500
            and isinstance(body, dict)
            and body["code"] == outcome.status
            and len(str(body["message"]).splitlines()) == 1
        )
    wanted = right_answer(outcome.index)
    return (
        outcome.status == 200
        and isinstance(body, dict)
        and set(body) == set(wanted)
        and all(abs(body[name] - wanted[name]) < TOLERANCE for name in wanted)
    )


def rest_client(server: TorchServe, model: str) -> Client:
    """Return a client with a connection of its own; every tenth request asks for a description."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {server.tokens.inference}"
    url = f"{server.addresses.inference}/predictions/{model}"

    def ask(index: int) -> Outcome:
        headers = {"describe": "True"} if index % 10 == 3 else {}
        try:
            answer = session.post(url, data=body_of(index), headers=headers, timeout=120)
        except requests.RequestException as error:
            return Outcome(index, 0, str(error))
        try:
            body = answer.json()
        except json.JSONDecodeError:
            body = answer.text
        bundle = answer.headers.get("x-fire-bundle", "")
        return Outcome(index, answer.status_code, body, bundle)

    return ask


def send_each(clients: Sequence[Client], count: int) -> list[Outcome]:
    """Send the requests 0 to count - 1, each once, by clients that work at the same time."""
    indices = iter(range(count))
    outcomes: list[Outcome] = []
    lock = threading.Lock()

    def work(client: Client) -> None:
        while True:
            with lock:
                index = next(indices, None)
            if index is None:
                return
            outcomes.append(client(index))

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def _levels(index: int) -> tuple[int, int, int]:
    number = index % NUMBERS
    return number // LEVELS**2, number // LEVELS % LEVELS, number % LEVELS
