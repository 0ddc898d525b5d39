from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.client.tokens import Tokens, read_tokens


def test_tokens_are_read(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    keys = {"management": {"key": "m"}, "inference": {"key": "i"}, "API": {"key": "a"}}
    path.write_text(json.dumps(keys))
    assert read_tokens(path) == Tokens("i", "m", "a")
    path.write_text("{}")
    with pytest.raises(FireError, match="expected the key_file"):
        read_tokens(path)
    path.unlink()
    with pytest.raises(FireError, match="cannot read"):
        read_tokens(path)
