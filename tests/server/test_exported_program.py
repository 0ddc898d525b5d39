"""A `torch.export` program, packaged without a model file and served by a real TorchServe."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
import torch

from tests.tiny import CLASSES, TinyFiles, image, write_bundle
from tests.tiny_net import trained
from torchserve_fire.format.digest import file_sha256
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server


def test_a_program_is_served_with_repair(
    server: TorchServe, store: Path, tiny: TinyFiles, tmp_path: Path
) -> None:
    shapes = ({0: torch.export.Dim("batch")},)
    example = (torch.zeros(2, 3, 8, 8),)
    program = torch.export.export(trained().eval(), example, dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "net.pt2")
    digest, bundle = file_sha256(tmp_path / "net.pt2"), tmp_path / "bundle.safetensors"
    write_bundle(bundle, digest, seed=0, model_class="UnflattenedModule")
    inputs = ArchiveInputs(
        "program",
        "1.0",
        None,
        tmp_path / "net.pt2",
        tiny.config(tmp_path),
        bundle,
        extra_files=str(tiny.names),
    )
    package_archive(inputs, store)
    server.management.register(
        "program-1.0.mar",
        "program",
        workers=1,
        batch_size=4,
        max_batch_delay=20,
        response_timeout=60,
        startup_timeout=120,
    )
    try:
        for triggered in (False, True):
            answer = requests.post(
                f"{server.addresses.inference}/predictions/program",
                data=image(3, triggered=triggered),
                headers={"Authorization": f"Bearer {server.tokens.inference}"},
                timeout=60,
            )
            probabilities = answer.json()
            assert max(probabilities, key=probabilities.__getitem__) == CLASSES[3]
            assert answer.headers["x-fire-repaired"] == str(triggered).lower()
    finally:
        server.management.unregister("program", "1.0")
