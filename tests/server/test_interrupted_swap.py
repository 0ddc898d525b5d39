"""Swaps that end in the middle, by SIGKILL or SIGINT, on a real TorchServe.

Of TorchServe alone: such a swap is a new version, by its management API.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.server.cut_off import REGISTERING, RETIRING, SERVING, WRITING, stop_at
from tests.server.registered import registered_tiny
from tests.tiny import CLASSES, TinyFiles, image
from torchserve_fire.format.bundle_file import load_bundle
from torchserve_fire_build.deployment.archive.next_archive import next_version
from torchserve_fire_build.deployment.client import swap
from torchserve_fire_build.deployment.client.rollout import Target
from torchserve_fire_build.deployment.client.swap import swap_bundle
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("each_bundle_loaded_once")]

NAME = "cut"
STEPS = (
    ("GET", f"/models/{NAME}", "before"),
    WRITING,
    ("POST", "/models", "before"),
    REGISTERING,
    ("PUT", "/set-default", "before"),
    SERVING,
    RETIRING,
    ("DELETE", "", "after"),
)


@pytest.fixture(scope="module")
def model(
    server: TorchServe, tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with registered_tiny(server, tiny, NAME, tmp_path_factory.mktemp("config")):
        yield NAME
        assert len(server.management.describe_all(NAME)) == 1


@pytest.fixture
def bundle(server: TorchServe, tiny: TinyFiles, model: str) -> Path:
    """The one of the two bundles that does not serve before the test."""
    serves = predict(server).headers["x-fire-bundle"]
    return tiny.other_bundle if serves == load_bundle(tiny.bundle).digest else tiny.bundle


def target(server: TorchServe) -> Target:
    return Target(
        server.management, server.addresses.inference, server.tokens.inference, server.model_store
    )


def predict(server: TorchServe) -> requests.Response:
    answer = requests.post(
        f"{server.addresses.inference}/predictions/{NAME}",
        data=image(2, triggered=True),
        headers={"Authorization": f"Bearer {server.tokens.inference}"},
        timeout=60,
    )
    probabilities = answer.json()
    assert answer.status_code == 200
    assert max(probabilities, key=probabilities.__getitem__) == CLASSES[2]
    return answer


def swap_until(
    step: tuple[str, str, str], number: signal.Signals, server: TorchServe, bundle: Path
) -> int | None:
    """Run a swap in a process of its own, which stops at a step; return its exit status."""

    def run() -> None:
        # It is ignored where the tests run in the background.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # What a killed process leaves there is pytest's to remove.
        tempfile.tempdir = str(bundle.parent)
        stop_at(step, number)
        try:
            swap_bundle(target(server), NAME, bundle)
        except KeyboardInterrupt:
            sys.exit(130)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(150)
    return process.exitcode


def hidden(server: TorchServe) -> list[Path]:
    return list(server.model_store.glob(f".{NAME}*"))


def check_swapped(server: TorchServe, bundle: Path, version: str) -> None:
    (serving,) = server.management.describe_all(NAME)
    assert (serving.version, serving.ready) == (version, True)
    assert predict(server).headers["x-fire-bundle"] == load_bundle(bundle).digest
    assert hidden(server) == []


def load_here(server: TorchServe, before: str, bundle: Path) -> None:
    """Work out the answers in this process, from which the others are forked."""
    with swap.unpacked_with(
        server.model_store / f"{NAME}-{before}.mar", swap.Change(bundle)
    ) as unpacked:
        swap.load_as_worker(unpacked.folder, NAME, unpacked.bodies())


@pytest.mark.slow
def test_a_swap_that_is_killed_at_each_step_can_be_run_again(
    server: TorchServe, model: str, bundle: Path
) -> None:
    before = server.management.describe(model).version
    following = next_version(before)
    load_here(server, before, bundle)
    archives = {path.name for path in server.model_store.glob(f"{NAME}-*")}
    # Each run takes up what the one before it left: only a whole one ends by itself.
    for step in STEPS:
        assert swap_until(step, signal.SIGKILL, server, bundle) == -signal.SIGKILL, step
        predict(server)
    assert swap_bundle(target(server), model, bundle) == following
    check_swapped(server, bundle, following)
    left = {path.name for path in server.model_store.glob(f"{NAME}-*")}
    assert left == archives | {f"{NAME}-{following}.mar"}


@pytest.mark.slow
def test_an_interrupted_swap_is_undone_or_done_and_can_be_run_again(
    server: TorchServe, model: str, bundle: Path
) -> None:
    before = server.management.describe(model).version
    following = next_version(before)
    load_here(server, before, bundle)
    for step in (WRITING, REGISTERING, SERVING):
        assert swap_until(step, signal.SIGINT, server, bundle) == 130, step
        assert [v.version for v in server.management.describe_all(NAME)] == [before], step
        assert not (server.model_store / f"{NAME}-{following}.mar").exists()
        assert hidden(server) == []
        predict(server)
    assert swap_until(RETIRING, signal.SIGINT, server, bundle) == 130
    assert {v.version for v in server.management.describe_all(NAME)} == {before, following}
    assert swap_bundle(target(server), model, bundle) == following
    check_swapped(server, bundle, following)
