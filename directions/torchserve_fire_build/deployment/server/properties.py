"""TorchServe's `config.properties`: found, read, and given free ports."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torchserve_fire.errors import FireError

COMMENT = re.compile(r"^[ \t]*[#!].*$", re.MULTILINE)
CONTINUED = re.compile(r"(?<!\\)(?:\\\\)*\\\n[ \t]*")
# As Java reads it: a key ends at the first '=', ':' or blank.
SETTING = re.compile(r"\s*([^=:\s]+)\s*[=:\s]\s*(.*)")

KINDS = ("inference_address", "management_address", "metrics_address")
EVERY_INTERFACE = re.compile(r"^(https?://)(?:0\.0\.0\.0|\[::\])(?=[:/]|$)")

CONFIG_NAME = "config.properties"
SHARED_FOLDER = "share/torchserve-fire"


@dataclass(frozen=True)
class Addresses:
    """Where a TorchServe listens.

    Attributes:
        inference: URL of the REST inference API.
        management: URL of the REST management API.
        metrics: URL of the REST metrics API.
        grpc_inference: host:port of the gRPC inference API.
        grpc_management: host:port of the gRPC management API.
    """

    inference: str
    management: str
    metrics: str
    grpc_inference: str
    grpc_management: str


def find_config() -> Path:
    """Return this project's `config.properties`: the checkout's, else the installed one.

    Raises:
        FireError: there is neither.
    """
    candidates = [
        Path(__file__).resolve().parents[4] / CONFIG_NAME,
        Path(sys.prefix) / SHARED_FOLDER / CONFIG_NAME,
    ]
    for path in candidates:
        if path.is_file():
            return path
    raise FireError(f"{CONFIG_NAME}: not found in {' or '.join(str(p.parent) for p in candidates)}")


def read_properties(path: Path) -> dict[str, str]:
    """Return the settings of a properties file.

    Raises:
        FireError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FireError(f"{path}: cannot read the TorchServe configuration: {error}") from None
    lines = CONTINUED.sub("", COMMENT.sub("", text)).splitlines()
    found = (SETTING.match(line) for line in lines)
    return {match[1]: match[2].strip() for match in found if match}


def addresses_of(settings: Mapping[str, str]) -> Addresses:
    """Return where a TorchServe with these settings listens; what is not set is its default."""

    def url(kind: str, port: int) -> str:
        return settings.get(f"{kind}_address", f"http://127.0.0.1:{port}")

    def grpc(kind: str, port: int) -> str:
        host = settings.get(f"grpc_{kind}_address", "127.0.0.1")
        return f"{host}:{settings.get(f'grpc_{kind}_port', port)}"

    return Addresses(
        url("inference", 8080),
        url("management", 8081),
        url("metrics", 8082),
        grpc("inference", 7070),
        grpc("management", 7071),
    )


def local_addresses(config: Path) -> Addresses:
    """Return where a client on the same machine finds a TorchServe with a configuration.

    An address of every interface becomes that of loopback, and what is no URL, as a Unix socket,
    the default.

    Raises:
        FireError: the file cannot be read.
    """
    settings = read_properties(config)
    for kind in KINDS:
        url = settings.get(kind, "")
        if url and not url.startswith(("http://", "https://")):
            del settings[kind]
        elif url:
            settings[kind] = EVERY_INTERFACE.sub(r"\g<1>127.0.0.1", url)
    return addresses_of(settings)


def with_free_ports(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with every address on a free port of loopback."""
    inference, management, metrics, grpc_inference, grpc_management = _free_ports(5)
    return {
        **settings,
        "inference_address": f"http://127.0.0.1:{inference}",
        "management_address": f"http://127.0.0.1:{management}",
        "metrics_address": f"http://127.0.0.1:{metrics}",
        "grpc_inference_address": "127.0.0.1",
        "grpc_inference_port": str(grpc_inference),
        "grpc_management_address": "127.0.0.1",
        "grpc_management_port": str(grpc_management),
    }


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
