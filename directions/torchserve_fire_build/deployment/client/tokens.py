"""The tokens that a TorchServe asks for, in the file that it writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from torchserve_fire.errors import FireError

KEY_FILE = "key_file.json"


@dataclass(frozen=True)
class Tokens:
    """The tokens of a running server.

    Attributes:
        inference: for predictions.
        management: for registering, describing, scaling.
        api: for asking for new tokens when these expire.
    """

    inference: str
    management: str
    api: str


def read_tokens(key_file: Path) -> Tokens:
    """Read the tokens that a server wrote to `key_file.json`.

    Raises:
        FireError: the file is missing or is not such a file.
    """
    try:
        keys = json.loads(key_file.read_text(encoding="utf-8"))
        return Tokens(*(str(keys[name]["key"]) for name in ("inference", "management", "API")))
    except OSError as error:
        raise FireError(f"{key_file}: cannot read the tokens: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise FireError(f"{key_file}: expected the {KEY_FILE} that TorchServe writes") from None
