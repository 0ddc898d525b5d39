"""What Prometheus reads of every engine, under the same names and labels."""

from __future__ import annotations

import time

from tests.tiny import TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire.watch.metrics import COMMON, DRIFT, LABELS

from .archive import MODEL
from .conftest import Started
from .engine import Engine, Sent, wait_until

NAMES = ("FireRequestsJudged", "FireRequestsFlagged", "FireRequestsRepaired", "FireBadInputs")


def wait_until_settled(engine: Engine) -> None:
    """Wait for what the requests of earlier tests count: it comes up to a second late."""
    before: object = None

    def is_so() -> bool:
        nonlocal before
        time.sleep(2)
        now = sorted(map(str, engine.samples()))
        settled, before = now == before, now
        return settled

    wait_until(is_so)


def test_requests_are_counted_by_model_version_and_bundle(
    started: Started, tiny: TinyFiles
) -> None:
    engine = started.engine
    labels = {
        "ModelName": MODEL,
        "ModelVersion": "1.0",
        "Bundle": load_bundle(tiny.bundle).digest,
    }
    # The corner shows 0 or 2; the threshold is 1 and the clean ones' spread .5.
    below, all_of_them = ({**labels, "Target": "0", "le": le} for le in ("-2", "+Inf"))
    # Counts are told once there was something to count.
    for body in (image(0), image(1, triggered=True), b"no image"):
        engine.ask(Sent(body))
    wait_until_settled(engine)

    def counts() -> list[float]:
        scores = [engine.count("FireDetectorScore", **each) for each in (below, all_of_them)]
        return [engine.count(name, **labels) for name in NAMES] + scores

    before = counts()
    for body in (image(0), image(1, triggered=True), image(2, triggered=True), b"no image"):
        engine.ask(Sent(body))
    wanted = [each + more for each, more in zip(before, (3, 2, 2, 1, 1, 3), strict=True)]
    wait_until(lambda: all(map(float.__ge__, counts(), wanted)))
    wait_until_settled(engine)
    assert counts() == wanted


def test_each_has_its_labels(started: Started) -> None:
    found = {name: labels for name, labels, _ in started.engine.samples() if name in LABELS}
    # Of few requests no drift is known.
    assert set(found) >= {*NAMES, "FireDetectorScore"}
    assert DRIFT not in found
    for name, labels in found.items():
        assert {*COMMON, *LABELS[name]} <= set(labels)
