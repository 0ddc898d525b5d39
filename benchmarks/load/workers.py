"""What a worker takes: the time until it serves, and memory."""

from __future__ import annotations

import time

import psutil  # type: ignore[import-untyped]

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.client.management import Management

START_SECONDS = 300.0


def start_seconds(management: Management, model: str) -> float:
    """Take a model's only worker away, and return how long another takes until it serves."""
    version = management.describe(model).version
    management.scale(model, version, 0, 0, START_SECONDS)
    start = time.perf_counter()
    management.scale(model, version, 1, 1, START_SECONDS)
    return time.perf_counter() - start


def memory_of(management: Management, model: str) -> int:
    """Return the bytes that the processes of a model's workers hold, what they share by parts.

    Raises:
        FireError: it has no worker.
    """
    workers = management.describe(model).workers
    if not workers:
        raise FireError(f"{model}: no worker")
    # The process that TorchServe started, and what that one did.
    processes = [psutil.Process(pid) for pid in workers]
    processes += [child for each in processes for child in each.children(recursive=True)]
    return sum(int(process.memory_full_info().pss) for process in processes)
