"""Workers of Ray: processes of this machine, or of the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torchserve_fire.errors import FireError, first_line

from .errors import OptionError
from .workers import Item, LostWorkerError, Result

ADDRESS = "RAY_ADDRESS"

TRIES = 3
"""How often an item is tried whose workers are killed."""

LOCAL: Mapping[str, str] = {
    # Else it listens at every address of the machine; Ray takes loopback for its own platforms.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Whoever else is on the machine may not use it, and no token is left in the home folder.
    "RAY_AUTH_MODE": "token",
    # Its workers would give way to every other program, this command's own one included; whoever
    # wants that starts the command by `nice`.
    "RAY_worker_niceness": "0",
    # The default is without end.
    "RAY_task_oom_retries": str(TRIES - 1),
}
"""The environment of a Ray of this machine alone."""

LOOPBACK = "127.0.0.1"

SHORT = "/tmp"  # noqa: S108 - a new folder in it.
"""Where Ray's sockets lie, whose paths may have 107 bytes in all."""

STARTS = 3
"""How often it is tried to start Ray, which on a busy machine gives up after 30 seconds."""

AHEAD = 2
"""Items handed over for each that is done at the same time: enough that no worker waits. All at
once would take memory."""

STORE_BYTES = 128 << 20
"""Memory for what travels between the processes: paths, results, and the features of a class."""


@dataclass(frozen=True)
class RayWorkers:
    """Has Ray do one thing with many items; how many at a time, Ray decides by its CPUs.

    Attributes:
        gpus: that each item takes.
    """

    gpus: int = 0

    @property
    def at_once(self) -> int:
        """How many items are done at the same time: one for each CPU, and each so many GPUs."""
        import ray

        has = ray.cluster_resources()
        most = has.get("CPU", 1)
        return max(1, int(min(most, has.get("GPU", 0) / self.gpus) if self.gpus else most))

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[int, Result | LostWorkerError]]:
        """Do as `workers.Workers.map`."""
        import ray

        task = ray.remote(function).options(
            num_cpus=1, num_gpus=self.gpus, max_retries=TRIES - 1, name=function.__name__
        )
        waiting, running = enumerate(items), dict[Any, int]()
        while True:
            room = AHEAD * self.at_once - len(running)
            for place, item in islice(waiting, max(0, room)):
                running[task.remote(item)] = place
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                place = running.pop(reference)
                try:
                    yield place, ray.get(reference)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                    yield (
                        place,
                        LostWorkerError(
                            f"its worker was killed, each of {TRIES} times: it crashes, or takes "
                            "more memory than there is"
                        ),
                    )


@contextmanager
def ray_workers(count: int | None = None, gpus: int = 0) -> Iterator[RayWorkers]:
    """Start Ray on this machine, reachable from here alone, or join a cluster; leave it at the end.

    Args:
        count: processes of this machine; None for one for each of its CPUs.
        gpus: that each item takes.

    Raises:
        OptionError: a count for a cluster, which has its own.
        FireError: Ray does not start, or no cluster answers.
    """
    cluster = os.environ.get(ADDRESS)
    if cluster and count is not None:
        raise OptionError(
            f"--workers {count}: expected no such number beside {ADDRESS}, which names a cluster "
            "with workers of its own"
        )
    with ExitStack() as stack:
        where: dict[str, Any] = {"address": cluster}
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if not cluster:
            # Read when Ray is imported.
            os.environ.update(LOCAL, RAY_AUTH_TOKEN=secrets.token_hex(32))
            temporary = tempfile.TemporaryDirectory(prefix="fire-ray-", dir=SHORT)
            folder = stack.enter_context(temporary)
            where = {
                "address": "local",
                "num_cpus": count,
                "include_dashboard": False,
                "object_store_memory": STORE_BYTES,
                "_node_ip_address": LOOPBACK,
                "_temp_dir": folder,
            }
        import ray

        stack.callback(ray.shutdown)
        _start(where, 1 if cluster else STARTS)
        yield RayWorkers(gpus)


def _start(where: Mapping[str, Any], tries: int) -> None:
    """Start or join Ray.

    Args:
        where: arguments of `ray.init`.
        tries: how often to try it.

    Raises:
        FireError: it does not start, or no cluster answers.
    """
    import ray

    for left in reversed(range(tries)):
        try:
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
            return
        except Exception as error:  # Whatever Ray raises.
            ray.shutdown()
            if not left:
                raise FireError(
                    f"Ray at {where['address']}: does not start, or does not answer: "
                    f"{first_line(error)}"
                ) from error
