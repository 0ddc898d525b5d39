from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from tests.server.certificates import write_certificates
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.server.properties import find_config
from torchserve_fire_build.deployment.server.torchserve import TorchServe
from torchserve_fire_build.signing.signing_key import KEY_VARIABLE


def test_a_taken_port_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    server = TorchServe(tmp_path, free_ports=True, folder=tmp_path / "work")
    port = int(server.addresses.metrics.rpartition(":")[2])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(FireError, match=f"cannot listen on 127.0.0.1:{port}"), server:
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_model_store_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FireError, match="expected the model store"):
        TorchServe(tmp_path / "missing", free_ports=True).start()


@pytest.mark.parametrize("model", ["net=net-9.mar", "net-9.mar"])
def test_an_archive_that_is_not_in_the_store_is_told_before_anything_starts(
    tmp_path: Path, model: str
) -> None:
    with pytest.raises(FireError, match=rf"--models {model}: no such archive"):
        TorchServe(tmp_path, [model], folder=tmp_path / "run").start()
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_folder_that_takes_no_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    for folder, reason in ((Path("/proc"), "/proc takes no file"), (tmp_path, "cannot be made")):
        server = TorchServe(tmp_path, free_ports=True, folder=folder)
        with pytest.raises(FireError, match=reason), server:
            pass


def test_https_needs_a_certificate(tmp_path: Path) -> None:
    settings = {"metrics_address": "https://127.0.0.1:1", "private_key_file": "key.pem"}
    with pytest.raises(FireError, match=r"https needs certificate_file, in PEM$"):
        TorchServe(tmp_path, settings=settings, folder=tmp_path).start()
    settings["certificate_file"] = "server.pem"
    with pytest.raises(FireError, match=r"server.pem: cannot read the certificate"):
        TorchServe(tmp_path, settings=settings, folder=tmp_path).start()
    assert list(tmp_path.iterdir()) == []


def test_https_needs_the_key_of_its_certificate(tmp_path: Path) -> None:
    settings = {
        "metrics_address": "https://127.0.0.1:1",
        "private_key_file": "key.pem",
        "certificate_file": "server.pem",
    }
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = (write_certificates(tmp_path / name) for name in ("one", "other"))
    shutil.copy(one.server, tmp_path / "server.pem")
    with pytest.raises(FireError, match=r"private_key_file: .*key.pem: no such file"):
        TorchServe(tmp_path, settings=settings, folder=tmp_path).start()
    shutil.copy(other.key, tmp_path / "key.pem")
    with pytest.raises(FireError, match=r"key.pem: not the key of .*server.pem"):
        TorchServe(tmp_path, settings=settings, folder=tmp_path).start()


def test_an_interpreter_without_torchserve_is_told(tmp_path: Path) -> None:
    server = TorchServe(tmp_path, free_ports=True, python="/bin/false")
    with pytest.raises(FireError, match="TorchServe ended before it was ready"), server:
        pass


def test_the_server_does_not_get_the_key_that_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "private")
    monkeypatch.setenv("OTHER", "public")
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nenv\n")
    program.chmod(0o700)
    server = TorchServe(tmp_path, free_ports=True, folder=tmp_path, python=str(program))
    with pytest.raises(FireError), server:
        pass
    said = server.console.read_text()
    assert "OTHER=public" in said
    assert "private" not in said


def test_of_a_configuration_only_what_is_changed_is_added(tmp_path: Path) -> None:
    config = tmp_path / "own.properties"
    text = "# mine\nmodels={\\\n}\nmetrics_config=metrics.yaml\ninference_address=http://x:1\n"
    config.write_text(text)
    server = TorchServe(tmp_path, config=config, settings={"inference_address": "http://y:2"})
    try:
        written = server._config_file().read_text()
    finally:
        server.stop()
    assert written.startswith(text)
    added = written.removeprefix(text).split()
    # Beside the configuration there is none, so it is this project's.
    beside = find_config().resolve().parent / "metrics.yaml"
    assert sorted(added) == ["inference_address=http://y:2", f"metrics_config={beside}"]


def test_a_metrics_configuration_that_is_nowhere(tmp_path: Path) -> None:
    config = tmp_path / "own.properties"
    config.write_text("metrics_config=mine.yaml\n")
    with pytest.raises(FireError, match=r"own.properties: metrics_config: mine.yaml: no such file"):
        TorchServe(tmp_path, config=config)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.yaml").write_text("")
    TorchServe(tmp_path, config=config, folder=tmp_path / "work")
