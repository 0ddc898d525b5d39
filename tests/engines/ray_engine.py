"""Ray Serve, with this project's application in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from .engine import Engine
from .ray_cluster import RayCluster


def application(name: str, archive: Path, path: str, **deployment: Any) -> dict[str, Any]:
    """Return what a configuration for `serve deploy` holds of an application."""
    return {
        "name": name,
        "route_prefix": path,
        "import_path": "torchserve_fire.ray:app",
        "args": {"archive": str(archive)},
        # These tests start more replicas than a small machine has processors.
        "deployments": [
            {"name": "FireModel", "ray_actor_options": {"num_cpus": 0.5}, **deployment}
        ],
    }


class RayEngine(Engine):
    """`torchserve_fire.ray:app`, deployed as `serve deploy` does.

    A process has one Ray, in which each engine is an application of its own.
    """

    running: ClassVar[list[RayEngine]] = []
    cluster: RayCluster

    def start(self, archive: Path, model: str) -> None:
        self.model = model
        if not self.running:
            cluster = RayCluster()
            cluster.start()
        else:
            cluster = self.running[0].cluster
        self.cluster = cluster
        path = f"/{model}" if self.running else "/"
        self.running.append(self)
        cluster.deploy(application(model, archive, path))
        self.base = f"{cluster.base}{path.rstrip('/')}"

    @property
    def workers(self) -> list[int]:
        return [int(each["worker_pid"]) for each in self.cluster.describe(self.model)]

    def stop(self) -> None:
        if self in self.running:
            self.running.remove(self)
            if not self.running:
                self.cluster.stop()
