"""The tiny archive as `open_model` takes it, and TorchServe's handler of the same archive."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torchserve_fire
from tests.handler.archive import ask, make_archive
from torchserve_fire.core.manifest import MANIFEST
from torchserve_fire.serve.fire_handler import FireHandler

ENTRY = Path(torchserve_fire.__file__).parent / "serve" / "fire_service.py"


def make_unpacked(folder: Path, settings: dict | None = None, **bundle_fields: Any) -> Any:
    """Fill a folder as an archive of this project's handler; return TorchServe's context of it."""
    context = make_archive(folder, settings, **bundle_fields)
    write_manifest(folder, context.manifest)
    return context


def write_manifest(folder: Path, manifest: dict) -> None:
    manifest = {**manifest, "model": {**manifest["model"], "handler": ENTRY.name}}
    (folder / "MAR-INF").mkdir(exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    shutil.copyfile(ENTRY, folder / ENTRY.name)


def pack(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for path in folder.rglob("*"):
            if path.is_file():
                packed.write(path, path.relative_to(folder))
    return archive


def answers_of_torchserve(context: Any, bodies: list) -> list[tuple[int, Any, dict]]:
    """The status, the body and the headers that TorchServe's handler gives."""
    handler = FireHandler()
    handler.initialize(context)
    answers = ask(handler, context, [{"body": body} for body in bodies])
    return [
        (status or 200, body, dict(context.get_response_headers(i)))
        for i, (status, body) in enumerate(answers)
    ]
