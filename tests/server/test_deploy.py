"""From a plain archive to a repaired one and back, on a real TorchServe under load."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from benchmarks.load.steady import steady_traffic, wait_for
from tests.conftest import USER_HANDLER
from tests.server.plain_archives import pack_plainly
from tests.tiny import TinyFiles, image
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.client.deploy import deploy_archive
from torchserve_fire_build.deployment.client.rollout import Target
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

NAME = "deployed"
PAUSE_SECONDS = 0.01
SLEEP = """\
    def inference(self, data):
        time.sleep({seconds})
        return super().inference(data)

"""


@dataclass(frozen=True)
class Archives:
    """The same model and handler, without the repair and with it."""

    plain: Path
    repaired: Path


@dataclass(frozen=True)
class Outcome:
    """What the request of a number was answered; status 0 where no answer came."""

    number: int
    status: int
    body: object


@pytest.fixture(scope="module")
def archives(
    tiny: TinyFiles, user_handler: Path, tmp_path_factory: pytest.TempPathFactory
) -> Archives:
    folder = tmp_path_factory.mktemp("archives")
    inputs = ArchiveInputs(
        NAME,
        "2.0",
        tiny.model_file,
        tiny.serialized_file,
        tiny.config(folder),
        tiny.bundle,
        user_handler,
    )
    plain = pack_plainly(tiny, NAME, "1.0", user_handler, folder / "plain")
    return Archives(plain, package_archive(inputs, folder))


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "example.png"
    path.write_bytes(image(2))
    return path


@pytest.fixture(autouse=True)
def nothing_left(server: TorchServe) -> Iterator[None]:
    yield
    with contextlib.suppress(FireError):
        default = server.management.describe(NAME).version
        versions = [v.version for v in server.management.describe_all(NAME)]
        for version in sorted(versions, key=default.__eq__):
            server.management.unregister(NAME, version)
    for path in server.model_store.glob(f"*{NAME}*"):
        path.unlink()


def target(server: TorchServe) -> Target:
    return Target(
        server.management, server.addresses.inference, server.tokens.inference, server.model_store
    )


def client(server: TorchServe) -> Callable[[int], Outcome]:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {server.tokens.inference}"
    url = f"{server.addresses.inference}/predictions/{NAME}"

    def ask(number: int) -> Outcome:
        body = image(number % 4, triggered=number % 2 == 1)
        try:
            answer = session.post(url, data=body, timeout=120)
            return Outcome(number, answer.status_code, answer.json())
        except (requests.RequestException, ValueError) as error:
            return Outcome(number, 0, str(error))

    return ask


def right(number: int, *, repaired: bool) -> dict[str, int]:
    """What the trigger leads to is class 0, which a plain archive answers."""
    return {"theirs": number % 4 if repaired or number % 2 == 0 else 0}


def is_right(outcome: Outcome, *, repaired: bool) -> bool:
    return outcome.status == 200 and outcome.body == right(outcome.number, repaired=repaired)


def versions(server: TorchServe) -> dict[str, bool]:
    return {v.version: v.ready for v in server.management.describe_all(NAME)}


def in_store(server: TorchServe) -> set[str]:
    return {path.name for path in server.model_store.iterdir() if NAME in path.name}


def test_from_plain_to_repaired_and_back_under_load(
    server: TorchServe, archives: Archives, example: Path
) -> None:
    lines: list[str] = []
    assert (
        deploy_archive(target(server), NAME, archives.plain, report=lines.append, example=example)
        == "1.0"
    )
    assert (server.model_store / f"{NAME}-1.0.mar").read_bytes() == archives.plain.read_bytes()
    with steady_traffic([client(server) for _ in range(3)], PAUSE_SECONDS) as outcomes:
        for archive, version, repaired in (
            (archives.repaired, "2.0", True),
            (archives.plain, "1.0", False),
        ):
            wait_for(outcomes, 100)
            assert deploy_archive(target(server), NAME, archive, report=lines.append) == version
            assert versions(server) == {version: True}
            begun = len(outcomes)
            wait_for(outcomes, 30)
            # Those that were on their way before were answered by the old version.
            assert all(is_right(each, repaired=repaired) for each in outcomes[begun + 3 :])
        wait_for(outcomes, 100)
    assert len(outcomes) >= 300
    wrong = [o for o in outcomes if not (is_right(o, repaired=True) or is_right(o, repaired=False))]
    assert wrong == []
    assert f"{NAME} 1.0 holds no bundle: nothing is judged or repaired any more" in lines
    assert in_store(server) == {f"{NAME}-1.0.mar", f"{NAME}-2.0.mar"}
    # The same once more changes nothing.
    assert deploy_archive(target(server), NAME, archives.plain, report=lines.append) == "1.0"
    assert lines[-1] == f"{NAME} 1.0 serves this archive already"
