"""Swapping the bundle of a model that a real TorchServe is serving.

Of TorchServe alone: such a swap is a new version, by its management API. That a bundle takes over
in place on every engine is asked in tests/engines/test_traffic.py.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from benchmarks.load.steady import steady_traffic, wait_for
from tests.server.registered import BOUNDS, registered_tiny
from tests.server.traffic import PAUSE_SECONDS, Client, is_bad, is_right, rest_client
from tests.tiny import TinyFiles, image
from torchserve_fire.core.manifest import MANIFEST
from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle_file import BUNDLE_FILE, load_bundle
from torchserve_fire_build.commands.main import main
from torchserve_fire_build.deployment.archive.next_archive import next_version
from torchserve_fire_build.deployment.client.rollout import Target
from torchserve_fire_build.deployment.client.server_errors import ServerError
from torchserve_fire_build.deployment.client.swap import swap_bundle
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

NAME = "swapped"


@pytest.fixture(scope="module")
def model(
    server: TorchServe, tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("config")
    # Long enough that requests wait for others, and are answered in batches.
    with registered_tiny(server, tiny, NAME, folder, delay=300):
        yield NAME


@pytest.fixture
def current(server: TorchServe, model: str) -> str:
    """The version that serves before the test."""
    return server.management.describe(model).version


@pytest.fixture
def bundle(server: TorchServe, tiny: TinyFiles, model: str) -> Path:
    """The one of the two bundles that does not serve before the test."""
    serves = predict(server, server.tokens.inference, 0).headers["x-fire-bundle"]
    return tiny.other_bundle if serves == load_bundle(tiny.bundle).digest else tiny.bundle


def target(server: TorchServe, inference_token: str | None = None) -> Target:
    return Target(
        server.management,
        server.addresses.inference,
        inference_token or server.tokens.inference,
        server.model_store,
    )


def versions(server: TorchServe) -> dict[str, bool]:
    return {v.version: v.ready for v in server.management.describe_all(NAME)}


def archives(server: TorchServe) -> set[str]:
    return {path.name for path in server.model_store.iterdir() if NAME in path.name}


def predict(server: TorchServe, token: str, quadrant: int) -> requests.Response:
    return requests.post(
        f"{server.addresses.inference}/predictions/{NAME}",
        data=image(quadrant, triggered=True),
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )


def clients(server: TorchServe) -> list[Client]:
    return [rest_client(server, NAME) for _ in range(3)]


@pytest.mark.usefixtures("each_bundle_loaded_once")
@pytest.mark.slow
def test_no_request_is_lost_during_swaps_back_and_forth(
    server: TorchServe, model: str, current: str, tiny: TinyFiles, bundle: Path
) -> None:
    server.management.scale(model, current, 2, 2, timeout=60)
    before = server.management.describe(model)
    other = ({tiny.bundle, tiny.other_bundle} - {bundle}).pop()
    version = swap_under_load(server, other, [bundle])
    assert archives(server) >= {f"{NAME}-{current}.mar", f"{NAME}-{version}.mar"}
    after = server.management.describe(model)
    assert len(after.workers) == 2
    for field in ("min_workers", "max_workers", *BOUNDS):
        assert getattr(after, field) == getattr(before, field)
    assert before.batch_size == 4  # As it was registered, not as its configuration says.
    server.management.scale(model, version, 1, 1, timeout=60)
    swap_under_load(server, bundle, [other, bundle, other])


def refused_second(server: TorchServe, bundle: Path) -> Callable[[str], None]:
    """Return a report that tries the same swap again while the first is under way."""

    def report(line: str) -> None:
        if line.startswith("registering"):
            with pytest.raises(FireError, match="another swap of this model is under way") as told:
                swap_bundle(target(server), NAME, bundle)
            assert str(told.value).count("\n") == 0

    return report


def swap_under_load(server: TorchServe, serves: Path, following: list[Path]) -> str:
    """Swap one bundle after the other while requests come; return the version that serves.

    Each is tried a second time meanwhile, which is refused.
    """
    version = server.management.describe(NAME).version
    old = load_bundle(serves).digest
    with steady_traffic(clients(server), PAUSE_SECONDS) as outcomes:
        for file in following:
            begun, new = len(outcomes), load_bundle(file).digest
            wait_for(outcomes, 20)
            report = refused_second(server, file)
            assert swap_bundle(target(server), NAME, file, report=report) == next_version(version)
            version = next_version(version)
            wait_for(outcomes, 20)
            # Those that were on their way when the version changed are answered by now.
            used = [o.bundle for o in outcomes[begun:] if not is_bad(o.index)]
            assert set(used) == {old, new}
            assert set(used[-10:]) == {new}
            old = new
    assert [o for o in outcomes if not is_right(o)] == []
    assert versions(server) == {version: True}
    return version


@pytest.mark.parametrize("which", ["foreign", "tampered"])
def test_a_bundle_that_does_not_fit_leaves_the_old_one_serving(
    server: TorchServe,
    tiny: TinyFiles,
    model: str,
    current: str,
    tmp_path: Path,
    which: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = tiny.foreign_bundle
    if which == "tampered":
        wrong = tmp_path / "tampered.safetensors"
        data = bytearray(tiny.other_bundle.read_bytes())
        data[-1] ^= 1
        wrong.write_bytes(data)
    before = archives(server)
    command = ["swap", "--model-name", model, "--bundle", str(wrong)]
    command += ["--management", server.addresses.management]
    command += ["--inference", server.addresses.inference, "--key-file", str(server.key_file)]
    assert main([*command, "--model-store", str(server.model_store)]) == 64
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert ("weights_sha256" if which == "foreign" else "SHA-256") in said
    assert versions(server) == {current: True}
    assert archives(server) == before
    assert predict(server, server.tokens.inference, 3).status_code == 200


@pytest.mark.usefixtures("each_bundle_loaded_once")
@pytest.mark.slow
def test_a_new_version_that_does_not_answer_is_taken_away_again_under_load(
    server: TorchServe, model: str, current: str, bundle: Path
) -> None:
    before = archives(server)
    with steady_traffic(clients(server), PAUSE_SECONDS) as outcomes:
        with pytest.raises(FireError, match=f"status 400, expected 200.*{current} serves on"):
            swap_bundle(target(server, "wrong"), model, bundle)
        wait_for(outcomes, 20)
    assert [o for o in outcomes if not is_right(o)] == []
    assert len({o.bundle for o in outcomes if not is_bad(o.index)}) == 1
    assert versions(server) == {current: True}
    assert archives(server) == before


@pytest.mark.slow
def test_a_taken_version_is_passed_over_but_not_where_it_was_asked_for(
    server: TorchServe, model: str, current: str, bundle: Path
) -> None:
    taken = next_version(current)
    other = server.model_store / f"{NAME}-{taken}.mar"
    other.write_bytes(b"somebody's")
    with pytest.raises(FireError, match="exists already"):
        swap_bundle(target(server), model, bundle, taken)
    assert swap_bundle(target(server), model, bundle) == next_version(taken)
    assert other.read_bytes() == b"somebody's"


@pytest.mark.slow
def test_a_tampered_bundle_is_refused_at_registration_and_leaves_no_version(
    server: TorchServe, model: str, current: str
) -> None:
    good, bad = (server.model_store / f"{NAME}-{v}.mar" for v in (current, "9.9"))
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as destination:
        for entry in source.namelist():
            data = bytearray(source.read(entry))
            if entry == BUNDLE_FILE:
                data[-1] ^= 1
            if entry == MANIFEST:
                data = bytearray(bytes(data).replace(f'"{current}"'.encode(), b'"9.9"'))
            destination.writestr(entry, bytes(data))
    for _ in range(2):  # A version left behind would make the second a 409.
        with pytest.raises(ServerError) as caught:
            server.management.register(bad.name, NAME, workers=1, **BOUNDS)
        assert caught.value.status == 500
        assert versions(server) == {current: True}
    assert "its bytes do not match their SHA-256" in server.console.read_text()


def test_a_model_without_a_bundle_cannot_be_swapped(server: TorchServe, tiny: TinyFiles) -> None:
    with pytest.raises(FireError, match="torchserve-fire repair makes one"):
        swap_bundle(target(server), "plain", tiny.bundle)
    with pytest.raises(ServerError, match="404"):
        swap_bundle(target(server), "nobody", tiny.bundle)


@pytest.mark.slow
def test_another_mode_is_a_version_of_its_own(
    server: TorchServe, model: str, current: str, capsys: pytest.CaptureFixture[str]
) -> None:
    token = server.tokens.inference
    bundle = predict(server, token, 1).headers["x-fire-bundle"]
    command = ["swap", "--model-name", model, "--model-store", str(server.model_store)]
    command += ["--management", server.addresses.management]
    command += ["--inference", server.addresses.inference, "--key-file", str(server.key_file)]
    assert main([*command, "--mode", "reject"]) == 0
    answer = predict(server, token, 1)
    assert (answer.status_code, answer.headers["x-fire-bundle"]) == (422, bundle)
    assert main([*command, "--mode", "reject"]) == 0
    assert "with this mode already" in capsys.readouterr().out
    assert main([*command, "--mode", "off"]) == 0
    assert "its mode is off: nothing is judged or repaired until" in capsys.readouterr().out
    assert main([*command, "--mode", "repair"]) == 0
    assert "its mode is off" not in capsys.readouterr().out
    assert predict(server, token, 1).status_code == 200
    assert versions(server) == {next_version(next_version(next_version(current))): True}


def test_a_swap_of_nothing_and_to_no_mode_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["swap", "--model-name", NAME]) == 64
    assert "expected --bundle, --mode, or both" in capsys.readouterr().err
    assert main(["swap", "--model-name", NAME, "--mode", "repiar"]) == 64
    assert "--mode repiar: expected one of repair, observe" in capsys.readouterr().err
