"""Ray Serve, with this project's application in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from .engine import Engine
from .inference_grpc import Place
from .ray_cluster import RayCluster

PROMETHEUS = Path(__file__).parents[2] / "docs" / "monitoring" / "prometheus-ray.yaml"


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
        path = f"/{model}" if self.running else "/"
        self._join(model)
        self.cluster.deploy(application(model, archive, path))
        self.base = f"{self.cluster.base}{path.rstrip('/')}"

    def _join(self, model: str) -> None:
        self.model = model
        if self.running:
            self.cluster = self.running[0].cluster
        else:
            self.cluster = RayCluster()
            self.cluster.start()
        self.running.append(self)

    def refuses(self, archive: Path, model: str) -> str:
        self._join(model)
        self.cluster.deploy(
            application(model, archive, f"/{model}", max_constructor_retry_count=1), "DEPLOY_FAILED"
        )
        return str(self.cluster.application(model).deployments["FireModel"].message)

    @property
    def workers(self) -> list[int]:
        return [int(each["worker_pid"]) for each in self.cluster.describe(self.model)]

    @property
    def place(self) -> Place:
        return Place(self.cluster.grpc, metadata=(("application", self.model),))

    def metrics(self) -> str:
        return self.cluster.metrics()

    def metric_called(self, name: str) -> str:
        (config,) = yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]
        names = {rule["regex"]: rule["replacement"] for rule in config["metric_relabel_configs"]}
        return str(names.get(name, name))

    def logs(self) -> Sequence[Path]:
        files = self.cluster.folder.glob("session_latest/logs/**/*")
        return [each for each in files if each.is_file()]

    def stop(self) -> None:
        if self in self.running:
            self.running.remove(self)
            if self.running:
                self.cluster.delete(self.model)
            else:
                self.cluster.stop()
