from __future__ import annotations

import ipaddress
from dataclasses import astuple
from pathlib import Path

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.server.properties import (
    addresses_of,
    find_config,
    local_addresses,
    read_properties,
    with_free_ports,
)


def test_this_projects_configuration_is_closed_to_others() -> None:
    settings = read_properties(find_config())
    for address in astuple(addresses_of(settings)):
        host = address.removeprefix("http://").rpartition(":")[0]
        assert ipaddress.ip_address(host).is_loopback
    for name in ("disable_token_authorization", "enable_envvars_config"):
        assert settings[name] == "false"
    assert "load_models" not in settings


def test_free_ports_keep_the_other_settings() -> None:
    settings = with_free_ports(
        {"enable_model_api": "true", "inference_address": "http://0.0.0.0:1"}
    )
    assert settings["enable_model_api"] == "true"
    places = astuple(addresses_of(settings))
    assert len({place.rpartition(":")[2] for place in places}) == 5
    assert all("127.0.0.1" in place for place in places)


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("http://0.0.0.0:9080", "http://127.0.0.1:9080"),
        ("https://[::]:9443", "https://127.0.0.1:9443"),
        ("http://10.0.0.7:9080", "http://10.0.0.7:9080"),
        ("unix:/tmp/inference.sock", "http://127.0.0.1:8080"),
    ],
)
def test_an_address_as_a_client_of_this_machine_reaches_it(
    tmp_path: Path, named: str, found: str
) -> None:
    path = tmp_path / "config.properties"
    path.write_text(f"inference_address={named}\n")
    addresses = local_addresses(path)
    assert (addresses.inference, addresses.management) == (found, "http://127.0.0.1:8081")


def test_comments_and_spaces(tmp_path: Path) -> None:
    path = tmp_path / "config.properties"
    path.write_text("# a=b\n! c=d\n\n key = v=w \nnothing\n")
    assert read_properties(path) == {"key": "v=w"}
    with pytest.raises(FireError, match="cannot read"):
        read_properties(tmp_path / "missing")


def test_a_setting_on_several_lines_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "c.properties"
    path.write_text(
        'models={\\\n  "net": {\\\n  }}\n'
        "allowed_urls: (?!)\n"
        "  enable_envvars_config false\n"
        "# a = b\\\n"
        "path=C:\\\\\n"
        "a=b=c\n"
    )
    assert read_properties(path) == {
        "models": '{"net": {}}',
        "allowed_urls": "(?!)",
        "enable_envvars_config": "false",
        "path": "C:\\\\",
        "a": "b=c",
    }
