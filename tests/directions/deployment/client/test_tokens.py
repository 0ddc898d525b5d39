from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.client.tokens import ServerTokens, Tokens, read_tokens


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


def test_a_token_that_is_given_stands_above_the_file(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    later = {"key": "m", "expiration time": "2999-01-01T00:00:00.1Z"}
    path.write_text(json.dumps({"management": later, "inference": {"key": "i"}, "API": later}))
    tokens = ServerTokens("http://127.0.0.1:9", path, management="given")
    assert (tokens.management(), tokens.inference(), tokens.found) == ("given", "i", True)
    tokens = ServerTokens("http://127.0.0.1:9", path)
    assert (tokens.management(), tokens.inference(), tokens.found) == ("m", "i", True)
    tokens = ServerTokens("http://127.0.0.1:9", None)
    assert (tokens.management(), tokens.inference(), tokens.found) == (None, None, False)


def test_an_expired_token_is_sent_where_nobody_renews_it(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    expired = {"key": "old", "expiration time": "2020-01-01T00:00:00.123456789Z"}
    path.write_text(json.dumps(dict.fromkeys(("management", "inference", "API"), expired)))
    # The request itself says that the server is not there.
    assert ServerTokens("http://127.0.0.1:9", path).management() == "old"
