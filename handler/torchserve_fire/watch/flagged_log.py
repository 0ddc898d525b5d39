"""One line in the log for each flagged request, without its content, and not too many lines."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

logger = logging.getLogger(__name__)

PER_MINUTE = 10


class FlaggedLog:
    """Writes a JSON line for each flagged request, at most `PER_MINUTE` in a minute.

    The first line after some were left out says how many.

    Args:
        model: the model's name.
        version: its version.
        bundle: its bundle's digest.
        mode: of the worker.
    """

    def __init__(self, model: str, version: str, bundle: str, mode: str) -> None:
        self._common = {"model": model, "version": version, "bundle": bundle, "mode": mode}
        self._lock = threading.Lock()
        self._minute = 0
        self._written = 0
        self._left_out = 0

    def write(self, request_id: str, score: float | None) -> None:
        """Write the line of one request, unless this minute has had enough.

        Args:
            request_id: the server's.
            score: 0 at the threshold, 1 above it by the spread of clean scores at calibration;
                None where this is not known.
        """
        with self._lock:
            minute = int(time.monotonic() // 60)
            if minute != self._minute:
                self._minute, self._written = minute, 0
            if self._written == PER_MINUTE:
                self._left_out += 1
                return
            self._written += 1
            left_out, self._left_out = self._left_out, 0
        line: dict[str, Any] = {"event": "flagged", **self._common, "request": request_id}
        line |= {"score": None if score is None else round(score, 3), "left_out": left_out}
        logger.warning("torchserve-fire: %s", json.dumps(line))
