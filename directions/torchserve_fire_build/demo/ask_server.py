"""Real requests to a running server, several at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests

from torchserve_fire.errors import FireError

from ..common.progress import Progress
from ..deployment.client.http_session import open_session

THREADS = 16
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What the server said about one image.

    Attributes:
        digit: the most probable class.
        probability: its probability.
        flagged: whether the image was judged to hold a trigger.
    """

    digit: int
    probability: float
    flagged: bool


def ask_server(url: str, token: str, images: Sequence[Path], title: str) -> list[Answer]:
    """Send each image in a request of its own.

    Args:
        url: of the model's predictions.
        token: for inference.
        images: image files.
        title: for the progress bar.

    Returns:
        One answer per image.

    Raises:
        FireError: the server gave no answer, or another status than 200.
    """
    local = threading.local()

    def ask(image: Path) -> Answer:
        if not hasattr(local, "session"):  # Sessions must not be shared by threads.
            local.session = open_session(token)
        try:
            response = local.session.post(url, data=image.read_bytes(), timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise FireError(f"{url}: no answer to {image.name}: {error}") from None
        if response.status_code != 200:
            raise FireError(f"{url}: {response.status_code} for {image.name}: {response.text}")
        probabilities = response.json()
        best = max(probabilities, key=probabilities.get)
        flagged = response.headers.get("x-fire-flagged") == "true"
        return Answer(int(best), probabilities[best], flagged)

    pool = ThreadPoolExecutor(THREADS)
    try:
        with Progress(title, len(images)) as progress:
            futures = [pool.submit(ask, image) for image in images]
            answers = []
            for future in futures:
                answers.append(future.result())
                progress.advance()
        return answers
    finally:
        pool.shutdown(cancel_futures=True)
