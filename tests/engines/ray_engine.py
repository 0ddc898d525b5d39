"""Ray Serve, with this project's application in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .engine import Engine
from .ray_cluster import RayCluster


def application(name: str, archive: Path, path: str = "/", **deployment: Any) -> dict[str, Any]:
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
    """`torchserve_fire.ray:app`, deployed as `serve deploy` does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cluster = RayCluster()

    def start(self, archive: Path, model: str) -> None:
        self.model = model
        self.cluster.start()
        self.cluster.deploy(application("shared", archive))
        self.base = self.cluster.base

    def stop(self) -> None:
        self.cluster.stop()
