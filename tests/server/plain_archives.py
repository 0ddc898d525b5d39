"""Archives that this project has not packed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.tiny import TinyFiles


def pack_plainly(
    tiny: TinyFiles, name: str, version: str, handler: Path, folder: Path, *more: str
) -> Path:
    """Pack the tiny model with a handler as users do, by torch-model-archiver."""
    command = [str(Path(sys.executable).with_name("torch-model-archiver"))]
    command += ["--model-name", name, "--version", version, "--handler", str(handler)]
    command += [
        "--model-file",
        str(tiny.model_file),
        "--serialized-file",
        str(tiny.serialized_file),
    ]
    folder.mkdir(exist_ok=True)
    subprocess.run([*command, "--export-path", str(folder), *more], check=True, capture_output=True)
    return (folder / f"{name}.mar").rename(folder / f"plain-{version}.mar")
