"""The manifests of deploy/kubernetes, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
FILES = sorted(KUBERNETES.glob("*.yaml"))

Manifest = dict[str, Any]


def manifests(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


def manifest(file: str, kind: str) -> Manifest:
    (found,) = [each for each in manifests(KUBERNETES / file) if each["kind"] == kind]
    return found


def pods(path: Path) -> Iterator[Manifest]:
    """What has containers and volumes, wherever it stands in a file."""
    yield from _with_containers(manifests(path))


def containers(path: Path) -> Iterator[Manifest]:
    for pod in pods(path):
        yield from pod["containers"]


def _with_containers(value: Any) -> Iterator[Manifest]:
    if isinstance(value, list):
        for each in value:
            yield from _with_containers(each)
    elif isinstance(value, dict):
        if "containers" in value:
            yield value
        for each in value.values():
            yield from _with_containers(each)
