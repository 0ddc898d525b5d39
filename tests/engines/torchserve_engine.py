"""TorchServe itself, whose answers are the measure of all others."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests

from tests.server.registered import BOUNDS
from torchserve_fire.serve.grpc_messages import STATUSES
from torchserve_fire_build.deployment.client.server_errors import ServerError
from torchserve_fire_build.deployment.server.torchserve import TorchServe

from .engine import Engine
from .inference_grpc import Inferred, Place

SERVICE = "org.pytorch.serve.grpc.openinference.GRPCInferenceService"
VARIABLE = "TS_OPEN_INFERENCE_PROTOCOL"
"""By which a server speaks that protocol over gRPC; there is no setting for it."""


class TorchServeEngine(Engine):
    """TorchServe, with tokens, as `torchserve-fire serve` starts it.

    Args:
        folder: as `Engine` takes it.
        server: one that runs, on which the archive is registered; None: one is started.
    """

    def __init__(self, folder: Path, server: TorchServe | None = None) -> None:
        super().__init__(folder)
        self.server = server
        self._is_ours = server is None
        self._registered: Path | None = None

    def start(self, archive: Path, model: str) -> None:
        self.model = model
        if self.server is None:
            models = [f"{model}={archive.name}"]
            self.server = TorchServe(archive.parent, models, free_ports=True, python=sys.executable)
            with_open_inference(self.server)
        else:
            # The store has the archives of other tests.
            self._registered = self.server.model_store / f"engines-{archive.name}"
            shutil.copyfile(archive, self._registered)
            bounds = {**BOUNDS, "startup_timeout": 120}
            self.server.management.register(self._registered.name, model, workers=1, **bounds)
        self.base = self.server.addresses.inference
        self.headers = {"Authorization": f"Bearer {self.server.tokens.inference}"}

    def refuses(self, archive: Path, model: str) -> str:
        assert self.server is not None
        before = len(self.server.console.read_text())
        try:
            self.start(archive, model)
        except ServerError:
            assert self._registered is not None
            self._registered.unlink()
            self._registered = None
            assert model not in self.server.management.models()
            return self.server.console.read_text()[before:]
        raise AssertionError(f"{archive} is served")

    @property
    def predict_path(self) -> str:
        return f"/predictions/{self.model}"

    @property
    def place(self) -> Place:
        assert self.server is not None
        token = ("authorization", f"Bearer {self.server.tokens.inference}")
        return Place(self.server.addresses.grpc_inference, SERVICE, (token,))

    def infer(self, *inputs: Any, **fields: Any) -> Inferred:
        told = super().infer(*inputs, **fields)
        outputs = dict(told.outputs)
        # TorchServe drops the status over gRPC, and writes texts as JSON there.
        if "NotFoundException" in told.said:
            return replace(told, status=STATUSES[404])
        if "code" in outputs:
            status, said = STATUSES[outputs["code"][0]], json.loads(outputs["error"][0])
            return replace(told, status=status, said=said, outputs={})
        if "classes" in outputs:
            outputs["classes"] = [json.loads(each).encode() for each in outputs["classes"]]
        return replace(told, outputs=outputs)

    def metrics(self) -> str:
        assert self.server is not None
        return requests.get(f"{self.server.addresses.metrics}/metrics", timeout=30).text

    def logs(self) -> Sequence[Path]:
        assert self.server is not None
        files = [each for each in (self.server.folder / "logs").rglob("*") if each.is_file()]
        assert self.server.console in files
        return files

    @property
    def workers(self) -> list[int]:
        if self.server is None:
            return []
        # A worker that was killed is listed until another stands in its place.
        workers = self.server.management.describe(self.model).workers
        return [pid for pid, ready in workers.items() if ready]

    def stop(self) -> None:
        if self.server is None:
            return
        if self._is_ours:
            self.server.stop()
        elif self._registered is not None:
            self.server.management.unregister(self.model, "1.0")
            self._registered.unlink()


def with_open_inference(server: TorchServe) -> None:
    """Start a server that speaks the Open Inference Protocol over gRPC, too."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "oip"
    try:
        server.start()
        server.wait_until_ready()
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before
