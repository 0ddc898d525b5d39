"""Waiting until a version of a model has answered everything that was sent to it."""

from __future__ import annotations

import time

from torchserve_fire.errors import FireError

from .management import Management, ModelVersion

SETTLE_SECONDS = 0.5
POLL_SECONDS = 0.1


def drain(management: Management, model: ModelVersion, timeout: float) -> None:
    """Wait until every request that a version has received is answered.

    TorchServe says how many requests wait in the queue, but not how many a worker is busy with.
    So each worker is asked to describe itself, which it does in its turn: a worker that answers
    after the queue was empty has nothing left to do. The version must get no new requests.

    Args:
        management: the server.
        model: the version.
        timeout: seconds to wait at most.

    Raises:
        FireError: the time is over, or the workers cannot be told apart.
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
            described = management.describe(model.name, model.version, customized=True).customized
            if not isinstance(described, dict) or "worker_pid" not in described:
                raise FireError(f"{where} does not say which of its workers answers")
            busy.discard(int(described["worker_pid"]))
        if busy:
            time.sleep(POLL_SECONDS)
