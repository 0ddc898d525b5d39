from __future__ import annotations

import pytest

from torchserve_fire_build.deployment.client.server_process import _of_serve, _values, find_server


def test_the_arguments_of_serve() -> None:
    ours = ["python", "/venv/bin/torchserve-fire", "serve", "--models", "a=a.mar"]
    assert _of_serve(ours) == ["--models", "a=a.mar"]
    assert _of_serve(["python", "-m", "torchserve_fire_build.commands.main", "serve"]) == []
    assert _of_serve(["grep", "serve", "torchserve-fire"]) is None


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["-s", "store", "-m", "a=a.mar", "b.mar", "-ncs"], ["a=a.mar", "b.mar"]),
        (["--models=a=a.mar", "--ncs"], ["a=a.mar"]),
        (["-s", "store"], []),
    ],
)
def test_what_stands_behind_a_flag(words: list[str], values: list[str]) -> None:
    assert _values(words, ("-m", "--models")) == values


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://example.org:80", "unix:/tmp/s", "http://127.0.0.1:x"]
)
def test_a_server_that_is_not_seen_from_here(url: str) -> None:
    assert find_server(url) is None
