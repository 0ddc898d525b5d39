"""Showing how long a step has been running, where its length is not known."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


@contextmanager
def elapsed(title: str) -> Iterator[None]:
    """Show for how long the body of the `with` has been running."""
    bar: tqdm[Any] = tqdm(desc=title, bar_format="{desc}: {elapsed}", leave=False, disable=None)
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.5):
            # Without a number to count, update() would draw nothing.
            bar.refresh()

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
        bar.close()
