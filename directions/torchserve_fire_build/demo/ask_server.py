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
    """What the server said about one sample.

    Attributes:
        index: the most probable class.
        probability: its probability.
        flagged: whether the sample was judged to hold a trigger.
    """

    index: int
    probability: float
    flagged: bool


def ask_server(
    url: str,
    token: str,
    files: Sequence[Path],
    title: str,
    *,
    classes: Sequence[str],
    content_type: str | None = None,
) -> list[Answer]:
    """Send each sample in a request of its own.

    Args:
        url: of the model's predictions.
        token: for inference.
        files: of each sample the body of its request.
        title: for the progress bar.
        classes: names of the classes, as the server answers them.
        content_type: of the requests; None to send none.

    Returns:
        One answer per sample.

    Raises:
        FireError: the server gave no answer, or another status than 200.
    """
    local = threading.local()
    headers = {} if content_type is None else {"Content-Type": content_type}

    def ask(file: Path) -> Answer:
        if not hasattr(local, "session"):  # Sessions must not be shared by threads.
            local.session = open_session(token)
        try:
            response = local.session.post(
                url, data=file.read_bytes(), headers=headers, timeout=TIMEOUT_SECONDS
            )
        except requests.RequestException as error:
            raise FireError(f"{url}: no answer to {file.name}: {error}") from None
        if response.status_code != 200:
            raise FireError(f"{url}: {response.status_code} for {file.name}: {response.text}")
        probabilities = response.json()
        best = max(probabilities, key=probabilities.get)
        flagged = response.headers.get("x-fire-flagged") == "true"
        return Answer(classes.index(best), probabilities[best], flagged)

    pool = ThreadPoolExecutor(THREADS)
    try:
        with Progress(title, len(files)) as progress:
            futures = [pool.submit(ask, file) for file in files]
            answers = []
            for future in futures:
                answers.append(future.result())
                progress.advance()
        return answers
    finally:
        pool.shutdown(cancel_futures=True)
