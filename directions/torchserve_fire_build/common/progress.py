"""Progress of a long step, for a person."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from tqdm import tqdm


class Progress:
    """A progress bar on a terminal's standard error that shows itself only after a second.

    Args:
        title: what is being done.
        total: samples or steps to do.
    """

    def __init__(self, title: str, total: int) -> None:
        self._bar: tqdm[Any] = tqdm(desc=title, total=total, delay=1, leave=False, disable=None)

    def advance(self, steps: int = 1) -> None:
        """Count some steps as done."""
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
