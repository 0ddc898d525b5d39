"""A `torch.export` program, packaged without a model file, on every engine."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.tiny import CLASSES, TinyFiles, image, write_bundle
from tests.tiny_net import trained
from torchserve_fire.format.digest import file_sha256
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive

from .conftest import Serving
from .engine import Sent

NAME = "program"


def test_a_program_is_served_with_repair(serving: Serving, tiny: TinyFiles, tmp_path: Path) -> None:
    shapes = ({0: torch.export.Dim("batch")},)
    example = (torch.zeros(2, 3, 8, 8),)
    program = torch.export.export(trained().eval(), example, dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "net.pt2")
    digest, bundle = file_sha256(tmp_path / "net.pt2"), tmp_path / "bundle.safetensors"
    write_bundle(bundle, digest, seed=0, model_class="UnflattenedModule")
    inputs = ArchiveInputs(
        NAME,
        "1.0",
        None,
        tmp_path / "net.pt2",
        tiny.config(tmp_path),
        bundle,
        extra_files=str(tiny.names),
    )
    with serving(package_archive(inputs, tmp_path), NAME, tmp_path) as engine:
        for triggered in (False, True):
            answer = engine.ask(Sent(image(3, triggered=triggered)))
            assert max(answer.body, key=answer.body.__getitem__) == CLASSES[3]
            assert answer.headers["x-fire-repaired"] == str(triggered).lower()
