"""The commands with which a person tries the demo's archives by hand."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

# `torchserve-fire serve` listens there, and writes its tokens to the folder it was started in.
URL_OF_SERVE = "http://127.0.0.1:8080/predictions"
READ_KEY_FILE = (
    "$(python3 -c \"import json; print(json.load(open('key_file.json'))['inference']['key'])\")"
)


def serve_line(model_store: Path, models: Sequence[str]) -> str:
    """Return the command that serves archives (`name=file.mar`) of a model store."""
    program = Path(sys.argv[0])
    if program.name != "torchserve-fire":
        program = Path("torchserve-fire")
    elif program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    words = [str(program), "serve", "--model-store", str(model_store), "--models", *models]
    return shlex.join(words)


def curl_line(token: str, file: Path, url: str, content_type: str | None = None) -> str:
    """Return the command that sends a sample; the token may be shell code that prints it."""
    kind = "" if content_type is None else f" -X POST -H 'Content-Type: {content_type}'"
    return f'curl -H "Authorization: Bearer {token}"{kind} -T {shlex.quote(str(file))} {url}'
