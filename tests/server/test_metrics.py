"""What Prometheus reads from a real server, and that it reads it all."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import requests
import yaml

from tests.tiny import TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.watch.metrics import LABELS
from torchserve_fire_build.deployment.server.properties import find_config
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server
SAMPLE = re.compile(r"^(\w+)\{(.*)\} ([\d.eE+-]+)$", re.MULTILINE)


def read(server: TorchServe) -> dict[str, list[tuple[dict[str, str], float]]]:
    answer = requests.get(f"{server.addresses.metrics}/metrics", timeout=30)
    assert answer.status_code == 200
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for name, labels, value in SAMPLE.findall(answer.text):
        pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        found.setdefault(name.removesuffix("_total"), []).append((pairs, float(value)))
    return found


def count(server: TorchServe, name: str, **labels: str) -> float:
    return sum(
        value for pairs, value in read(server).get(name, []) if labels.items() <= pairs.items()
    )


def wait_for(server: TorchServe, name: str, value: float, **labels: str) -> None:
    deadline = time.monotonic() + 60
    while count(server, name, **labels) < value and time.monotonic() < deadline:
        time.sleep(0.2)
    assert count(server, name, **labels) == value


def wait_until_settled(server: TorchServe) -> None:
    """Wait for what the requests of earlier tests count: it comes up to a second late."""
    before, now = None, of_ours(server)
    deadline = time.monotonic() + 60
    while before != now and time.monotonic() < deadline:
        time.sleep(2)
        before, now = now, of_ours(server)


def of_ours(server: TorchServe) -> dict[str, list[tuple[dict[str, str], float]]]:
    return {name: values for name, values in read(server).items() if name.startswith("Fire")}


def test_requests_are_counted_by_model_version_and_bundle(
    server: TorchServe, tiny: TinyFiles
) -> None:
    labels = {
        "ModelName": "tiny",
        "ModelVersion": "1.0",
        "Bundle": load_bundle(tiny.bundle).digest,
    }
    # The corner shows 0 or 2; the threshold is 1 and the clean ones' spread .5.
    below, all_of_them = ({**labels, "Target": "0", "le": le} for le in ("-2", "+Inf"))
    wait_until_settled(server)
    scored = [count(server, "FireDetectorScore", **each) for each in (below, all_of_them)]
    names = ("FireRequestsJudged", "FireRequestsFlagged", "FireRequestsRepaired", "FireBadInputs")
    before = {name: count(server, name, **labels) for name in names}
    bodies = [image(0), image(1, triggered=True), image(2, triggered=True), b"no image"]
    for body in bodies:
        requests.post(
            f"{server.addresses.inference}/predictions/tiny",
            data=body,
            headers={"Authorization": f"Bearer {server.tokens.inference}"},
            timeout=60,
        )
    for name, more in zip(names, (3, 2, 2, 1), strict=True):
        wait_for(server, name, before[name] + more, **labels)
    wait_for(server, "FireDetectorScore", scored[0] + 1, **below)
    wait_for(server, "FireDetectorScore", scored[1] + 3, **all_of_them)


def test_all_that_is_told_is_declared() -> None:
    declared = yaml.safe_load((Path(find_config()).parent / "metrics.yaml").read_text())
    of_model = {
        metric["name"]: metric["dimensions"]
        for kind in declared["model_metrics"].values()
        for metric in kind
    }
    for name, labels in LABELS.items():
        # TorchServe drops a metric whose labels are in another order than it is told in.
        assert of_model[name] == ["ModelName", "ModelVersion", "Bundle", *labels, "Level"]
