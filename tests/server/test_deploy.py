"""From a plain archive to a repaired one and back, on a real TorchServe under load.

Of TorchServe alone: archives come and go by its management API.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import torch

from benchmarks.load.steady import steady_traffic, wait_for
from tests.conftest import USER_HANDLER
from tests.server.cut_off import REGISTERING, RETIRING, SERVING, WRITING, stop_at
from tests.server.plain_archives import pack_plainly
from tests.server.registered import BOUNDS
from tests.tiny import TinyFiles, image
from torchserve_fire.errors import FireError
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.client import deploy
from torchserve_fire_build.deployment.client.deploy import deploy_archive
from torchserve_fire_build.deployment.client.rollout import Target
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

NAME = "deployed"
PAUSE_SECONDS = 0.01
# Half of what a worker does is another method, so that a request takes a while.
SLOW = (
    USER_HANDLER.replace("import io\n", "import io\nimport time\n")
    + """
    def inference(self, data):
        time.sleep(0.7)
        return super().inference(data)

    def describe_handle(self):
        raise RuntimeError("nothing to say")
"""
)
# Every process answers another number.
UNEQUAL = USER_HANDLER.replace("import io\n", "import io\nimport os\n").replace(
    '"theirs": int(row.argmax())', '"theirs": 1000 * os.getpid()'
)
BROKEN = USER_HANDLER.replace("self.initialized = True", 'raise ValueError("no such weights")')


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
        str(user_handler),
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


@pytest.fixture
def plainly(tiny: TinyFiles, tmp_path: Path) -> Callable[[str, str], Path]:
    """Packs the text of a handler as a version."""

    def pack(text: str, version: str) -> Path:
        (tmp_path / "handler.py").write_text(text)
        return pack_plainly(tiny, NAME, version, tmp_path / "handler.py", tmp_path / "packed")

    return pack


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


@pytest.mark.slow
def test_a_plain_archive_is_served_and_not_ready(
    server: TorchServe, archives: Archives, example: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy_archive(
        target(server), NAME, archives.plain, None, lambda line: None, example=example, new=True
    )
    command = ["ready", "--model-name", NAME, "--management", server.addresses.management]
    command += ["--key-file", str(server.key_file)]
    assert main(command) == 1
    assert "holds no repair" in capsys.readouterr().err
    assert main([*command, "--input", str(example)]) == 1
    assert "answered without repair" in capsys.readouterr().err


def test_from_plain_to_repaired_and_back_under_load(
    server: TorchServe, archives: Archives, example: Path
) -> None:
    lines: list[str] = []
    assert (
        deploy_archive(
            target(server), NAME, archives.plain, None, lines.append, example=example, new=True
        )
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


def serve(server: TorchServe, archive: Path, workers: int, response_timeout: int) -> None:
    shutil.copy(archive, server.model_store / f"{NAME}-1.0.mar")
    bounds = {**BOUNDS, "batch_size": 1, "response_timeout": response_timeout}
    server.management.register(f"{NAME}-1.0.mar", NAME, workers=workers, **bounds)


@pytest.mark.parametrize(("workers", "response_timeout"), [(1, 60), (2, 6)])
@pytest.mark.slow
def test_what_slow_workers_have_is_answered_before_they_go(
    server: TorchServe,
    archives: Archives,
    plainly: Callable[[str, str], Path],
    workers: int,
    response_timeout: int,
) -> None:
    lines: list[str] = []
    serve(server, plainly(SLOW, "1.0"), workers, response_timeout)
    with steady_traffic([client(server) for _ in range(4)], PAUSE_SECONDS) as outcomes:
        wait_for(outcomes, 4)
        deploy_archive(target(server), NAME, archives.repaired, report=lines.append)
        wait_for(outcomes, 20)
    wrong = [o for o in outcomes if not (is_right(o, repaired=True) or is_right(o, repaired=False))]
    assert wrong == []
    assert versions(server) == {"2.0": True}
    waited = [line for line in lines if "waiting its response timeout, 7 s" in line]
    assert len(waited) == (workers > 1)
    after = server.management.describe(NAME)
    assert (after.min_workers, after.batch_size, after.max_batch_delay) == (workers, 1, 10)
    # The archive's configuration stands above what is asked for.
    told = f"its own configuration sets response_timeout 60 instead of {response_timeout}"
    assert [line for line in lines if line.startswith(told)] or response_timeout == 60


@pytest.mark.slow
def test_what_fails_leaves_the_old_version_and_nothing_else(
    server: TorchServe,
    archives: Archives,
    plainly: Callable[[str, str], Path],
    example: Path,
    tmp_path: Path,
) -> None:
    damaged = tmp_path / "damaged.mar"
    damaged.write_bytes(archives.plain.read_bytes()[:-40])
    with pytest.raises(
        FireError, match=r"answers no random image .*: give --example with the body"
    ):
        deploy_archive(target(server), NAME, archives.plain, new=True)
    with pytest.raises(FireError, match=rf"answered .* expected .*nothing is served as {NAME}$"):
        deploy_archive(target(server), NAME, plainly(UNEQUAL, "3.0"), example=example, new=True)
    assert in_store(server) == set()
    assert NAME not in server.management.models()
    serve(server, archives.plain, 1, 60)
    for archive, said in (
        (damaged, "damaged or cut short, expected a whole archive"),
        (plainly(BROKEN, "3.1"), "would not serve: ValueError: no such weights"),
        (plainly(UNEQUAL, "3.0"), rf"expected .*nothing was changed, {NAME} 1.0 serves on"),
    ):
        with pytest.raises(FireError, match=said) as told:
            deploy_archive(target(server), NAME, archive, example=example)
        assert "\n" not in str(told.value)
        assert versions(server) == {"1.0": True}
        assert in_store(server) == {f"{NAME}-1.0.mar"}
    # Its version is taken by another archive, which is served.
    lines: list[str] = []
    other = plainly(USER_HANDLER + "\n", "1.0")
    with pytest.raises(FireError, match=rf"^{NAME} 1.0: exists already, as .* and in the server$"):
        deploy_archive(target(server), NAME, other, "1.0", example=example)
    version = deploy_archive(target(server), NAME, other, report=lines.append, example=example)
    assert version == "1.1"
    assert "its version 1.0 is taken: it becomes 1.1" in lines
    assert versions(server) == {"1.1": True}


def test_a_mistyped_name_or_address_is_refused_before_the_archive_is_loaded(
    server: TorchServe,
    archives: Archives,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(deploy, "try_as_worker", None)
    # The inference address is found in the server's configuration, the management one in this.
    (tmp_path / "config.properties").write_text(
        f"management_address={server.addresses.management}\n"
    )
    monkeypatch.chdir(tmp_path)
    command = ["deploy", str(archives.plain), "--model-name", "tyni"]
    command += ["--model-store", str(server.model_store), "--key-file", str(server.key_file)]
    assert main(command) == 64
    said = capsys.readouterr().err
    assert "--model-name tyni: nothing is served as tyni (served: " in said
    assert "tiny" in said.partition("served: ")[2]
    assert "or --new to serve this one beside it" in said
    assert "tyni" not in server.management.models()
    assert not list(server.model_store.glob("*tyni*"))
    assert main([*command, "--inference", "http://127.0.0.1:9"]) == 64
    said = capsys.readouterr().err
    assert "GET http://127.0.0.1:9/ping: no answer (ConnectionError, refused: --inference" in said
    assert "nothing was changed" in said
    assert said.count("\n") == 1


def test_a_model_that_is_served_is_not_new(server: TorchServe, archives: Archives) -> None:
    serve(server, archives.plain, 1, 60)
    with pytest.raises(FireError, match=rf"^--new: {NAME} 1.0 is served already; leave --new out"):
        deploy_archive(target(server), NAME, archives.repaired, new=True)


def deploy_until(step: tuple[str, str, str], server: TorchServe, archive: Path) -> int | None:
    """Deploy in a process of its own, which is killed at a step; return its exit status."""

    def run() -> None:
        tempfile.tempdir = str(archive.parent)
        stop_at(step, signal.SIGKILL)
        deploy_archive(target(server), NAME, archive)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(150)
    return process.exitcode


@pytest.mark.slow
def test_a_run_that_was_killed_can_be_started_again(
    server: TorchServe, archives: Archives, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, archives.plain, 1, 60)
    groups = deploy.candidate_bodies([archives.repaired])
    known = deploy._answered(archives.repaired, NAME, groups, None, torch.device("cpu"))
    # Worked out once, in this process, from which the others are forked.
    monkeypatch.setattr(deploy, "_answered", lambda *_: known)
    for step in (WRITING, REGISTERING, SERVING, RETIRING):
        assert deploy_until(step, server, archives.repaired) == -signal.SIGKILL, step
        assert is_right(client(server)(2), repaired=True)
    assert deploy_archive(target(server), NAME, archives.repaired) == "2.0"
    assert versions(server) == {"2.0": True}
    assert in_store(server) == {f"{NAME}-1.0.mar", f"{NAME}-2.0.mar"}
