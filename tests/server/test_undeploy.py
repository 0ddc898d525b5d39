"""Taking versions out of service on a real TorchServe."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.server.registered import BOUNDS
from tests.tiny import TinyFiles, image
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.client.server_errors import ServerError
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = [pytest.mark.server, pytest.mark.slow]

NAME = "leaving"
VERSIONS = ("1.0", "2.0", "3.0")


@pytest.fixture(scope="module")
def archives(
    server: TorchServe, tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Path]]:
    """Three versions, of which the first is the default."""
    config = tiny.config(tmp_path_factory.mktemp("config"))
    packed = [
        package_archive(
            ArchiveInputs(
                NAME, version, tiny.model_file, tiny.serialized_file, config, tiny.bundle
            ),
            server.model_store,
        )
        for version in VERSIONS
    ]
    for path in packed:
        # Long enough that a request waits for others.
        bounds = {**BOUNDS, "max_batch_delay": 500}
        server.management.register(path.name, NAME, workers=1, **bounds)
    server.management.set_default(NAME, "1.0")
    yield packed
    for version in sorted(versions(server), key=default(server).__eq__):
        server.management.unregister(NAME, version)
    for path in packed:
        path.unlink()


def versions(server: TorchServe) -> list[str]:
    try:
        return sorted(model.version for model in server.management.describe_all(NAME))
    except ServerError:
        return []


def default(server: TorchServe) -> str:
    return server.management.describe(NAME).version if versions(server) else ""


def command(server: TorchServe, *more: str) -> list[str]:
    where = ["--management", server.addresses.management, "--key-file", str(server.key_file)]
    return ["undeploy", "--model-name", NAME, *where, *more]


@pytest.mark.usefixtures("archives")
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "3 versions are registered (1.0 (the default), 2.0, 3.0): give --version"),
        (["--version", "1.0"], "is the default, which requests that name no version get: give"),
        (["--version", "4"], "4: is not registered, expected one of 1.0 (the default), 2.0, 3.0"),
        (["--version", "2.0", "--default", "2.0"], "--default 2.0: is the version to unregister"),
        (["--version", "2.0", "--default", "x"], "x: is not registered"),
    ],
)
def test_what_is_refused_changes_nothing(
    server: TorchServe, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(server, *flags)) == 64
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert (versions(server), default(server)) == (list(VERSIONS), "1.0")


def test_one_after_the_other_until_none_is_left(
    server: TorchServe, archives: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    answers: list[int] = []

    def ask() -> None:
        answer = requests.post(
            f"{server.addresses.inference}/predictions/{NAME}/2.0",
            data=image(0),
            headers={"Authorization": f"Bearer {server.tokens.inference}"},
            timeout=60,
        )
        answers.append(answer.status_code)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for each in asking:
        each.start()
    assert main(command(server, "--version", "2.0")) == 0
    for each in asking:
        each.join()
    assert answers == [200] * 3
    assert "leaving 2.0 is unregistered; its archive stays" in capsys.readouterr().out
    assert versions(server) == ["1.0", "3.0"]
    assert main(command(server, "--version", "1.0", "--default", "3.0")) == 0
    assert "leaving 3.0 is the default now\n" in capsys.readouterr().out
    assert (versions(server), default(server)) == (["3.0"], "3.0")
    for flags in ([], ["--version", "3.0"]):
        assert main(command(server, *flags)) == 64
        assert "leaving 3.0 is the only version and answers all" in capsys.readouterr().err
        assert versions(server) == ["3.0"]
    assert main(command(server, "--all")) == 0
    assert "nothing is served as leaving any more" in capsys.readouterr().out
    assert versions(server) == []
    assert all(path.is_file() for path in archives)
    assert main(command(server)) == 64
    assert "torchserve-fire status shows what is served" in capsys.readouterr().err
