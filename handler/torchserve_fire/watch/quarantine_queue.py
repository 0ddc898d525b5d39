"""Flagged inputs on their way to the quarantine, which no answer waits for."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

from ..errors import InputError
from ..model.request_body import RequestBody
from .quarantine import Quarantine

logger = logging.getLogger(__name__)

WAITING = 64
"""Number of inputs that may wait to be kept."""


class QuarantineQueue:
    """Keeps inputs in a thread of its own.

    Many flagged inputs must not slow the answers down. So an input that comes while `WAITING`
    others wait is not kept.

    Args:
        quarantine: where they go.
    """

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine = quarantine
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="fire-quarantine")
        self._free = threading.Semaphore(WAITING)

    def put(self, read: Callable[[], Tensor | RequestBody]) -> None:
        """Keep a request's input, a while later.

        Args:
            read: returns the sample, of the shape that the model takes, or the request's body; it
                may raise InputError.
        """
        if self._free.acquire(blocking=False):
            self._keeper.submit(self._keep, read)

    def prune(self) -> None:
        """Delete what is too old or too much, a while later; at most once an hour."""
        with contextlib.suppress(RuntimeError):  # It is finished, or the worker ends.
            self._keeper.submit(self._quarantine.prune)

    def finish(self) -> None:
        """Wait until all inputs are kept; no more can be put."""
        self._keeper.shutdown()

    def _keep(self, read: Callable[[], Tensor | RequestBody]) -> None:
        try:
            self._quarantine.keep(read())
        except InputError:
            pass  # A user's handler may take what ours does not.
        except Exception:
            logger.exception("torchserve-fire: a flagged input could not be kept")
        finally:
            self._free.release()
