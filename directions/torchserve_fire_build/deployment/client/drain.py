"""Waiting until a version of a model has answered everything that was sent to it."""

from __future__ import annotations

import time
from collections.abc import Callable

from torchserve_fire.errors import FireError

from .management import Management, ModelVersion

SETTLE_SECONDS = 0.5
POLL_SECONDS = 0.1
SPARE_SECONDS = 1.0
"""Beyond the response timeout, for a worker that has just taken a batch and not yet sent it on."""


def drain(
    management: Management,
    model: ModelVersion,
    timeout: float,
    report: Callable[[str], None] = print,
) -> None:
    """Wait until every request that a version has received is answered.

    TorchServe says how many requests wait in the queue, but not how many a worker is busy with.
    So the version is asked to describe itself, which a worker does in its turn: a worker that
    answers after the queue was empty has nothing left to do. This project's handlers say which
    worker answers, until each has. Of another handler's answers, one is enough where there is one
    worker. Where there are several, they cannot be told apart. But TorchServe gives a worker that
    has a batch the response timeout to answer it: when this has passed since the queue was empty,
    every request is answered, or was given up by TorchServe.

    The version must get no new requests.

    Args:
        management: the server.
        model: the version.
        timeout: seconds to wait at most until the queue is empty and known workers have answered.
        report: called with a line where the response timeout is waited for.

    Raises:
        FireError: the time is over.
    """
    where = f"{model.name} {model.version}"
    deadline = time.monotonic() + timeout
    # A request that was routed just before the default changed may not be in the queue yet.
    time.sleep(SETTLE_SECONDS)
    busy = set(management.describe(model.name, model.version).workers)
    while True:
        now = management.describe(model.name, model.version)
        # A worker that was restarted meanwhile has no earlier requests.
        busy &= set(now.workers)
        if now.pending == 0 and not busy:
            return
        if time.monotonic() > deadline:
            raise FireError(f"{where} is still busy with requests after {timeout:.0f} s")
        if now.pending == 0:
            left = max(deadline - time.monotonic(), 1.0)
            described = management.answers_in_turn(model.name, model.version, left)
            if isinstance(described, dict) and "worker_pid" in described:
                busy.discard(int(described["worker_pid"]))
            elif max(len(now.workers), now.min_workers) == 1:
                return
            else:
                _wait_for_timeout(now, report)
                return
        if busy:
            time.sleep(POLL_SECONDS)


def _wait_for_timeout(model: ModelVersion, report: Callable[[str], None]) -> None:
    """Wait until TorchServe has given up whatever the workers have not answered."""
    seconds = model.max_batch_delay / 1000 + model.response_timeout + SPARE_SECONDS
    report(
        f"{model.name} {model.version} has {len(model.workers)} workers, and its handler does not "
        f"say which of them answers: waiting its response timeout, {seconds:.0f} s, after which no "
        "request is left"
    )
    time.sleep(seconds)
