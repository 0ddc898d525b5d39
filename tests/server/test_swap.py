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
from directions.deployment.archive import ArchiveInputs, package_archive
from directions.deployment.management import ServerError
from directions.deployment.next_archive import unpacked_with
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


@pytest.fixture
def model(server: TorchServe, tiny: TinyFiles, tmp_path: Path) -> Iterator[str]:
    """A model with one version, 1.0, of two workers; taken away with its archives afterwards."""
    archive = package_archive(
        ArchiveInputs(
            NAME,
            "1.0",
            tiny.model_file,
            tiny.serialized_file,
            tiny.config(tmp_path, workers=2),
            tiny.bundle,
            extra_files=str(tiny.names),
        ),
        server.model_store,
    )
    server.management.register(archive.name, NAME, workers=2, **BOUNDS)
    yield NAME
    default = server.management.describe(NAME).version
    for version in [v.version for v in server.management.describe_all(NAME)]:
        if version != default:
            server.management.unregister(NAME, version)
    server.management.unregister(NAME, default)
    for path in server.model_store.glob(f"{NAME}-*"):
        path.unlink()


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
            answer = predict(server, token, k % 4)
            right = (
                answer.ok and max(answer.json().items(), key=lambda i: i[1])[0] == CLASSES[k % 4]
            )
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


def test_no_request_is_lost_during_a_swap(server: TorchServe, tiny: TinyFiles, model: str) -> None:
    before = server.management.describe(model)
    old, new = load_bundle(tiny.bundle).digest, load_bundle(tiny.other_bundle).digest
    with steady_requests(server) as answers:
        while len(answers) < 20:
            threading.Event().wait(0.02)
        assert swap_bundle(target(server), model, tiny.other_bundle) == "1.1"
        done = len(answers)
        while len(answers) < done + 20:
            threading.Event().wait(0.02)
    assert {status for status, _, _ in answers} == {200}
    assert all(right for _, _, right in answers)
    assert {digest for _, digest, _ in answers} == {old, new}
    assert {digest for _, digest, _ in answers[-10:]} == {new}
    after = server.management.describe(model)
    assert versions(server) == {"1.1": True}
    assert archives(server) == {f"{NAME}-1.0.mar", f"{NAME}-1.1.mar"}
    for field in ("min_workers", "max_workers", *BOUNDS):
        assert getattr(after, field) == getattr(before, field)
    assert before.batch_size == 4  # As it was registered, not as its configuration says.


@pytest.mark.parametrize("which", ["foreign", "tampered"])
def test_a_bundle_that_does_not_fit_leaves_the_old_one_serving(
    server: TorchServe,
    tiny: TinyFiles,
    model: str,
    tmp_path: Path,
    which: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = tiny.foreign_bundle
    if which == "tampered":
        bundle = tmp_path / "tampered.safetensors"
        data = bytearray(tiny.other_bundle.read_bytes())
        data[-1] ^= 1
        bundle.write_bytes(data)
    command = ["swap", "--model-name", model, "--bundle", str(bundle)]
    command += ["--management", server.addresses.management]
    command += ["--inference", server.addresses.inference, "--key-file", str(server.key_file)]
    assert main([*command, "--model-store", str(server.model_store)]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert ("weights_sha256" if which == "foreign" else "SHA-256") in said
    assert versions(server) == {"1.0": True}
    assert archives(server) == {f"{NAME}-1.0.mar"}
    answer = predict(server, server.tokens.inference, 3)
    assert answer.headers["x-fire-bundle"] == load_bundle(tiny.bundle).digest


def test_a_new_version_that_does_not_answer_is_taken_away_again(
    server: TorchServe, tiny: TinyFiles, model: str
) -> None:
    with pytest.raises(FireError, match=r"status 400, expected 200.*1\.0 serves on"):
        swap_bundle(target(server, "wrong"), model, tiny.other_bundle)
    assert versions(server) == {"1.0": True}
    assert archives(server) == {f"{NAME}-1.0.mar"}


def test_a_swap_that_was_cut_off_can_be_run_again(
    server: TorchServe, tiny: TinyFiles, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = server.model_store
    # Cut off after the new version was registered ...
    with unpacked_with(store / f"{NAME}-1.0.mar", tiny.other_bundle) as unpacked:
        unpacked.write("1.1", store / f"{NAME}-1.1.mar")
    server.management.register(f"{NAME}-1.1.mar", NAME, workers=2, **BOUNDS)
    assert swap_bundle(target(server), model, tiny.other_bundle) == "1.1"
    assert versions(server) == {"1.1": True}
    # ... and after the new version became the default.
    server.management.register(f"{NAME}-1.0.mar", NAME, workers=2, **BOUNDS)
    assert swap_bundle(target(server), model, tiny.other_bundle) == "1.1"
    assert versions(server) == {"1.1": True}
    assert "already" in capsys.readouterr().out


def test_a_taken_version_is_passed_over_but_not_where_it_was_asked_for(
    server: TorchServe, tiny: TinyFiles, model: str
) -> None:
    other = server.model_store / f"{NAME}-1.1.mar"
    other.write_bytes(b"somebody's")
    with pytest.raises(FireError, match="exists already"):
        swap_bundle(target(server), model, tiny.other_bundle, "1.1")
    assert swap_bundle(target(server), model, tiny.other_bundle) == "1.2"
    assert other.read_bytes() == b"somebody's"


def test_a_tampered_bundle_is_refused_at_registration_and_leaves_no_version(
    server: TorchServe, model: str
) -> None:
    good, bad = (server.model_store / f"{NAME}-{v}.mar" for v in ("1.0", "9.9"))
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as destination:
        for entry in source.namelist():
            data = bytearray(source.read(entry))
            if entry == BUNDLE_FILE:
                data[-1] ^= 1
            if entry.endswith("MANIFEST.json"):
                data = bytearray(bytes(data).replace(b'"1.0"', b'"9.9"', 1))
            destination.writestr(entry, bytes(data))
    for _ in range(2):  # A version left behind would make the second a 409.
        with pytest.raises(ServerError) as caught:
            server.management.register(bad.name, NAME, workers=1, **BOUNDS)
        assert caught.value.status == 500
        assert versions(server) == {"1.0": True}
    assert "its bytes do not match their SHA-256" in server.console.read_text()


def test_a_model_without_a_bundle_cannot_be_swapped(server: TorchServe, tiny: TinyFiles) -> None:
    with pytest.raises(FireError, match="package this model with --bundle"):
        swap_bundle(target(server), "plain", tiny.bundle)
    with pytest.raises(ServerError, match="404"):
        swap_bundle(target(server), "nobody", tiny.bundle)
