"""What the configuration of Ray Serve may say of an application."""

from __future__ import annotations

from typing import Any

import pytest

from tests.keys import PUBLIC
from torchserve_fire.errors import ConfigError
from torchserve_fire.serve.ray_serve.arguments import (
    Arguments,
    read_arguments,
    read_user_config,
)


def test_the_arguments() -> None:
    assert read_arguments({"archive": "net.mar"}) == Arguments("net.mar", None)
    asked = {"archive": "net.mar", "trusted_keys": [PUBLIC]}
    assert read_arguments(asked) == Arguments("net.mar", (PUBLIC,))
    for clients, anyone in (("loopback", False), ("any", True)):
        asked = {"archive": "net.mar", "grpc_clients": clients}
        assert read_arguments(asked).answers_other_machines is anyone


def test_the_user_config() -> None:
    assert read_user_config(None) is read_user_config({}) is None
    assert read_user_config({"bundle": "a.safetensors"}) == "a.safetensors"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "args: None, expected a map such as {archive: /models/net-1.0.mar}"),
        ({}, "args: archive: missing"),
        ({"archive": ""}, "args: archive: "),
        ({"archive": "a", "archives": "b"}, "args: archives: unknown field; the nearest is"),
        ({"archive": "a", "trusted_keys": "k"}, "args: trusted_keys: "),
        ({"archive": "a", "trusted_keys": []}, "args: trusted_keys: "),
        ({"archive": "a", "grpc_clients": "all"}, "args: grpc_clients: 'all', expected "),
    ],
)
def test_wrong_arguments(values: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_arguments(values)
    assert str(refused.value).startswith(said)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("a.safetensors", "user_config: 'a.safetensors', expected a map such as {bundle: "),
        ({"bundel": "a"}, "user_config: bundel: unknown field; the nearest is bundle"),
        ({"bundle": 3}, "user_config: bundle: 3, expected a text"),
    ],
)
def test_a_wrong_user_config(values: Any, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_user_config(values)
    assert str(refused.value).startswith(said)
