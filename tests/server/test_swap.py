"""Swapping the bundle of a model that a real TorchServe is serving."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from directions.commands.main import main
from directions.deployment.archive import MANIFEST, ArchiveInputs, package_archive
from directions.deployment.management import ServerError
from directions.deployment.next_archive import next_version, unpacked_with
from directions.deployment.server import TorchServe
from directions.deployment.swap import Target, swap_bundle
from handler.bundle import BUNDLE_FILE, load_bundle
from handler.errors import FireError
from tests.tiny import CLASSES, TinyFiles, image

pytestmark = pytest.mark.server

NAME = "swapped"
BOUNDS = {
    "batch_size": 4,
    "max_batch_delay": 300,
    "response_timeout": 60,
    "startup_timeout": 60,
}


@pytest.fixture(scope="module")
def model(
    server: TorchServe, tiny: TinyFiles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A model with one version of one worker; each test leaves one, of whatever number."""
    archive = package_archive(
        ArchiveInputs(
            NAME,
            "1.0",
            tiny.model_file,
            tiny.serialized_file,
            tiny.config(tmp_path_factory.mktemp("config")),
            tiny.bundle,
            extra_files=str(tiny.names),
        ),
        server.model_store,
    )
    server.management.register(archive.name, NAME, workers=1, **BOUNDS)
    yield NAME
    default = server.management.describe(NAME).version
    for version in [v.version for v in server.management.describe_all(NAME)]:
        if version != default:
            server.management.unregister(NAME, version)
    server.management.unregister(NAME, default)
    for path in server.model_store.glob(f"{NAME}-*"):
        path.unlink()


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


@contextmanager
def steady_requests(server: TorchServe) -> Iterator[list[tuple[int, str, bool]]]:
    """Clients that never pause; yields what they were answered: status, bundle, whether right."""
    answers: list[tuple[int, str, bool]] = []
    stop = threading.Event()
    token = server.tokens.inference

    def client(k: int) -> None:
        while not stop.is_set():
            try:
                answer = predict(server, token, k % 4)
                probabilities = answer.json() if answer.ok else {"": 0.0}
            except (requests.RequestException, ValueError):
                answers.append((0, "", False))
                return
            right = max(probabilities, key=probabilities.__getitem__) == CLASSES[k % 4]
            answers.append((answer.status_code, answer.headers.get("x-fire-bundle", ""), right))

    threads = [threading.Thread(target=client, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_no_request_is_lost_during_a_swap(
    server: TorchServe, model: str, current: str, bundle: Path
) -> None:
    server.management.scale(model, current, 2, 2, timeout=60)
    before = server.management.describe(model)
    old = predict(server, server.tokens.inference, 0).headers["x-fire-bundle"]
    new = load_bundle(bundle).digest
    with steady_requests(server) as answers:
        while len(answers) < 20:
            threading.Event().wait(0.02)
        version = swap_bundle(target(server), model, bundle)
        swapped = len(answers)
        while len(answers) < swapped + 20:
            threading.Event().wait(0.02)
    # Those that were on their way when the version changed are answered by now.
    assert version == next_version(current)
    assert {status for status, _, _ in answers} == {200}
    assert all(right for _, _, right in answers)
    assert {digest for _, digest, _ in answers} == {old, new}
    assert {digest for _, digest, _ in answers[-10:]} == {new}
    assert versions(server) == {version: True}
    assert archives(server) >= {f"{NAME}-{current}.mar", f"{NAME}-{version}.mar"}
    after = server.management.describe(model)
    assert len(after.workers) == 2
    for field in ("min_workers", "max_workers", *BOUNDS):
        assert getattr(after, field) == getattr(before, field)
    assert before.batch_size == 4  # As it was registered, not as its configuration says.
    server.management.scale(model, version, 1, 1, timeout=60)


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
    assert main([*command, "--model-store", str(server.model_store)]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert ("weights_sha256" if which == "foreign" else "SHA-256") in said
    assert versions(server) == {current: True}
    assert archives(server) == before
    assert predict(server, server.tokens.inference, 3).status_code == 200


def test_a_new_version_that_does_not_answer_is_taken_away_again(
    server: TorchServe, model: str, current: str, bundle: Path
) -> None:
    before = archives(server)
    with pytest.raises(FireError, match=f"status 400, expected 200.*{current} serves on"):
        swap_bundle(target(server, "wrong"), model, bundle)
    assert versions(server) == {current: True}
    assert archives(server) == before


def test_a_swap_that_was_cut_off_can_be_run_again(
    server: TorchServe,
    model: str,
    current: str,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, following = server.model_store, next_version(current)
    # Cut off after the new version was registered ...
    with unpacked_with(store / f"{NAME}-{current}.mar", bundle) as unpacked:
        unpacked.write(following, store / f"{NAME}-{following}.mar")
    server.management.register(f"{NAME}-{following}.mar", NAME, workers=1, **BOUNDS)
    assert swap_bundle(target(server), model, bundle) == following
    assert versions(server) == {following: True}
    # ... and after it became the default.
    server.management.register(f"{NAME}-{current}.mar", NAME, workers=1, **BOUNDS)
    assert swap_bundle(target(server), model, bundle) == following
    assert versions(server) == {following: True}
    assert "already" in capsys.readouterr().out


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
    with pytest.raises(FireError, match="package this model with --bundle"):
        swap_bundle(target(server), "plain", tiny.bundle)
    with pytest.raises(ServerError, match="404"):
        swap_bundle(target(server), "nobody", tiny.bundle)
