"""Clients that keep sending requests while something is done to the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from torchserve_fire.errors import FireError

Answer = TypeVar("Answer")

PATIENCE_SECONDS = 300.0
"""For requests, while a worker starts on a slow machine."""


@contextmanager
def steady_traffic(
    clients: Sequence[Callable[[int], Answer]], pause_seconds: float = 0.0
) -> Iterator[list[Answer]]:
    """Send requests until the block ends, which sees the answers so far.

    Args:
        clients: each is called in a thread of its own, with the numbers that are its own.
        pause_seconds: between a client's requests.
    """
    answers: list[Answer] = []
    stop = threading.Event()

    def work(first: int, client: Callable[[int], Answer]) -> None:
        number = first
        while not stop.wait(pause_seconds):
            answers.append(client(number))
            number += len(clients)

    threads = [
        threading.Thread(target=work, args=(first, client)) for first, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def wait_for(answers: Sequence[object], more: int) -> None:
    """Wait until this many more requests were answered.

    Raises:
        FireError: they were not, for minutes.
    """
    enough, deadline = len(answers) + more, time.monotonic() + PATIENCE_SECONDS
    while len(answers) < enough:
        if time.monotonic() > deadline:
            raise FireError(f"{more} more requests were not answered within {PATIENCE_SECONDS:g} s")
        time.sleep(0.02)
