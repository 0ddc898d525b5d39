"""A small Ray on loopback that reports to nobody, and is gone afterwards with all that it wrote."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else Ray takes the machine's own address in the place of loopback.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Else Ray would write a token to the home folder.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_SERVE_LOG_TO_STDERR": "0",
}
MEMORY = 100 * 2**20
"""For Ray's object store, in which nothing of ours lies."""
PATIENCE_SECONDS = 120


class RayCluster:
    """Ray, and Ray Serve over it.

    Attributes:
        base: where Ray Serve listens.
        folder: what Ray writes.
    """

    def __init__(self) -> None:
        self.base = ""
        # Short, since a socket's path must be.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._before = dict(os.environ)

    def start(self) -> None:
        os.environ.update(ENVIRONMENT)
        import ray
        from ray import serve

        ray.init(
            num_cpus=8,
            include_dashboard=False,
            _temp_dir=str(self.folder),
            object_store_memory=MEMORY,
            log_to_driver=False,
        )
        port = free_port()
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        self.base = f"http://127.0.0.1:{port}"

    def deploy(self, *applications: dict[str, Any]) -> None:
        """Do what `serve deploy` does, and wait until all is as it was asked for."""
        from ray.serve.context import _get_global_client
        from ray.serve.schema import ServeDeploySchema

        schema = ServeDeploySchema.model_validate({"applications": list(applications)})
        _get_global_client().deploy_apps(schema)
        self.wait_for(lambda: all(self.status(each["name"]) == "RUNNING" for each in applications))

    def status(self, application: str) -> str:
        from ray import serve

        told = serve.status().applications.get(application)
        return "" if told is None else str(told.status.value)

    def logs(self) -> str:
        """What replicas have written to their logs."""
        files = self.folder.glob("session_latest/logs/serve/replica_*.log")
        return "\n".join(path.read_text() for path in files)

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        from ray import serve

        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, serve.status()
            time.sleep(0.1)

    def stop(self) -> None:
        import ray
        from ray import serve

        try:
            if ray.is_initialized():
                serve.shutdown()
                ray.shutdown()
        finally:
            os.environ.clear()
            os.environ.update(self._before)
            shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    cluster = RayCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
