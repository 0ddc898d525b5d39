"""A progress bar for long steps."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from tqdm import tqdm


class Progress:
    """A progress bar on standard error; it appears only on a terminal, and after a second.

    Args:
        title: what is being done.
        total: number of samples or steps.
    """

    def __init__(self, title: str, total: int) -> None:
        self._bar: tqdm[Any] = tqdm(desc=title, total=total, delay=1, leave=False, disable=None)

    def advance(self, steps: int = 1) -> None:
        """Count `steps` more steps as done."""
        self._bar.update(steps)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
