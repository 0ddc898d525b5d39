"""`torchserve-fire serve --engine kserve`, as a person or a supervisor runs it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import requests
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from tests.keys import PUBLIC
from tests.server.certificates import write_certificates
from tests.tiny import TinyFiles, image
from torchserve_fire.format.bundle_file import BUNDLE_FILE

from .archive import MODEL, make_archive
from .engine import Sent
from .kserve_engine import KServeEngine, environment, free_port


@pytest.mark.slow
def test_stopped_it_answers_what_was_asked_and_a_killed_one_comes_back_repaired(
    tiny: TinyFiles, tmp_path: Path
) -> None:
    archive = make_archive(tiny, tmp_path)
    engine = KServeEngine(tmp_path)
    triggered = Sent(image(2, triggered=True))
    try:
        engine.start(archive, MODEL)
        assert engine.process is not None
        engine.process.kill()
        engine.process.wait(30)
        with pytest.raises(requests.ConnectionError):
            engine.ask(triggered)
        # As a container's supervisor does; the first answer that it gives at all is repaired.
        engine.start(archive, MODEL)
        assert engine.ask(triggered).headers["x-fire-repaired"] == "true"
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(engine.ask, triggered) for _ in range(8)]
            threading.Event().wait(0.02)
            engine.process.send_signal(signal.SIGTERM)
            answered = [each.result() for each in asked if each.exception() is None]
        assert engine.process.wait(60) == 0
        assert all(each.headers["x-fire-repaired"] == "true" for each in answered)
        assert answered
    finally:
        engine.stop()


@pytest.mark.slow
def test_over_tls_as_the_sdk_s_variables_name_it(
    tiny: TinyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_archive(tiny, tmp_path)
    certificates = write_certificates(tmp_path)
    monkeypatch.setenv("KSERVE_TLS_CERT_FILE", str(certificates.server))
    done = serve(tmp_path, "--archive", archive, "--port", free_port())
    assert done.returncode == 64
    assert "KSERVE_TLS_KEY_FILE" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("KSERVE_TLS_KEY_FILE", str(certificates.key))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    engine = KServeEngine(tmp_path)
    try:
        engine.start(archive, MODEL, scheme="https")
        assert engine.ask(Sent(image(1))).status == 200
        trusted = grpc.ssl_channel_credentials(certificates.authority.read_bytes())
        with grpc.secure_channel(engine.grpc, trusted) as channel:
            asked = pb.ModelReadyRequest(name=MODEL)
            assert GRPCInferenceServiceStub(channel).ModelReady(asked, timeout=30).ready
    finally:
        engine.stop()


def serve(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "serve"]
    return subprocess.run(
        [*command, "--engine", "kserve", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(folder),
        timeout=300,
    )


@pytest.mark.slow
def test_what_cannot_be_served_is_said_in_one_line(tiny: TinyFiles, tmp_path: Path) -> None:
    archive = make_archive(tiny, tmp_path)
    unrepaired = tmp_path / "unrepaired.mar"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(unrepaired, "w") as target:
        for name in source.namelist():
            if name != BUNDLE_FILE:
                target.writestr(name, source.read(name))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words, said in (
            (["--archive", archive, "--grpc-port", port], f"cannot listen on 127.0.0.1:{port} "),
            (["--archive", unrepaired, "--port", free_port()], f"{BUNDLE_FILE}: "),
            (["--archive", archive, "--trusted-key", PUBLIC, "--port", free_port()], "not signed"),
        ):
            done = serve(tmp_path, *words)
            assert done.returncode == 64
            assert said in done.stderr
            assert done.stderr.startswith("torchserve-fire serve: ")
            assert len(done.stderr.splitlines()) == 1
