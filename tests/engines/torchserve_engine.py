"""TorchServe itself, whose answers are the measure of all others."""

from __future__ import annotations

import sys
from pathlib import Path

from torchserve_fire_build.deployment.server.torchserve import TorchServe

from .engine import Engine


class TorchServeEngine(Engine):
    """TorchServe, with tokens, as `torchserve-fire serve` starts it."""

    server: TorchServe | None = None

    def start(self, archive: Path, model: str) -> None:
        self.model = model
        self.server = TorchServe(
            archive.parent, [f"{model}={archive.name}"], free_ports=True, python=sys.executable
        )
        self.server.start()
        self.server.wait_until_ready()
        self.base = self.server.addresses.inference
        self.headers = {"Authorization": f"Bearer {self.server.tokens.inference}"}

    @property
    def workers(self) -> list[int]:
        return (
            [] if self.server is None else list(self.server.management.describe(self.model).workers)
        )

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
