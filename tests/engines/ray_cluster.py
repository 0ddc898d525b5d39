"""A small Ray on loopback that reports to nobody, and is gone afterwards with all that it wrote."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else Ray takes the machine's own address in the place of loopback.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Else Ray would write a token to the home folder.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    # Else replicas run after everything else on a busy machine.
    "RAY_worker_niceness": "0",
}
MEMORY = 100 * 2**20
"""For Ray's object store, in which nothing of ours lies."""
PATIENCE_SECONDS = 300
SERVICER = "torchserve_fire.serve.ray_serve.inference_service.add_inference_service"


class RayCluster:
    """Ray, and Ray Serve over it.

    Attributes:
        base: where Ray Serve listens.
        grpc: where it does for gRPC, HOST:PORT.
        folder: what Ray writes.
    """

    def __init__(self) -> None:
        self.base = self.grpc = ""
        # Short, since a socket's path must be.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._before = {name: os.environ.get(name) for name in ENVIRONMENT}
        self._applications: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        os.environ.update(ENVIRONMENT)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        import ray
        from ray import serve

        ray.init(
            num_cpus=8,
            include_dashboard=False,
            _temp_dir=str(self.folder),
            _system_config={"metrics_report_interval_ms": 1000},
            object_store_memory=MEMORY,
            log_to_driver=False,
        )
        port, grpc_port = free_port(), free_port()
        serve.start(
            http_options={"host": "127.0.0.1", "port": port},
            grpc_options={"port": grpc_port, "grpc_servicer_functions": [SERVICER]},
        )
        self.base, self.grpc = f"http://127.0.0.1:{port}", f"127.0.0.1:{grpc_port}"

    def deploy(self, application: dict[str, Any], status: str = "RUNNING") -> None:
        """Deploy an application beside the others, or anew, and wait until it has a status."""
        self._applications[application["name"]] = application
        self._deploy_all()
        self.wait_for(lambda: self.application(application["name"]).status == status)

    def delete(self, name: str) -> None:
        """Take an application away."""
        del self._applications[name]
        self._deploy_all()

    def application(self, name: str) -> Any:
        """What `serve status` says of an application."""
        from ray import serve

        return serve.status().applications[name]

    def describe(self, name: str) -> list[dict[str, Any]]:
        """What each replica of an application says of itself; nothing while one has just died."""
        from ray import serve
        from ray.exceptions import RayActorError
        from ray.serve.exceptions import DeploymentUnavailableError

        try:
            return list(serve.get_app_handle(name).broadcast("describe").results())
        except (RayActorError, DeploymentUnavailableError):
            return []

    def logs(self) -> str:
        """What replicas have written to their logs."""
        files = self.folder.glob("session_latest/logs/serve/replica_*.log")
        return "\n".join(path.read_text() for path in files)

    def metrics(self) -> str:
        """What the node gives to Prometheus."""
        import requests

        (file,) = self.folder.glob("session_latest/metrics_export_port_*")
        return requests.get(f"http://127.0.0.1:{file.read_text()}/metrics", timeout=30).text

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
            # Other sessions' servers may have changed the rest meanwhile.
            for name, value in self._before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
            shutil.rmtree(self.folder, ignore_errors=True)

    def _deploy_all(self) -> None:
        """Do what `serve deploy` does, which would ask Ray's dashboard to."""
        from ray.serve.context import _get_global_client
        from ray.serve.schema import ServeDeploySchema

        config = {"applications": list(self._applications.values())}
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate(config))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
