"""Serving an archive with KServe's Python SDK, in this process."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torchserve_fire import open_model
from torchserve_fire.errors import FireError
from torchserve_fire.serve.kserve.logs import configure_logs
from torchserve_fire.serve.kserve.server import FireServer
from torchserve_fire.watch.prometheus_metrics import prometheus_metrics


@dataclass(frozen=True)
class Place:
    """Where a server listens.

    Attributes:
        host: the address.
        port: for REST.
        grpc_port: for gRPC.
    """

    host: str
    port: int
    grpc_port: int


def serve_archive(archive: Path, place: Place, trusted_keys: Sequence[str]) -> None:
    """Open an archive and serve it until SIGINT or SIGTERM.

    Args:
        archive: the file, or its unpacked folder.
        place: where to listen.
        trusted_keys: one of which must have signed the archive; empty: those that it names itself.

    Raises:
        FireError: it cannot be served with repair, or the place is taken.
    """
    for port in (place.port, place.grpc_port):
        _check_free(place.host, port)
    configure_logs()
    metrics = prometheus_metrics()
    with open_model(archive, metrics=metrics, trusted_keys=list(trusted_keys) or None) as model:
        server = FireServer(model, place.host, place.port, place.grpc_port)
        scheme = "https" if server.ssl_certfile else "http"
        rest, grpc = f"{scheme}://{place.host}:{place.port}", f"{place.host}:{place.grpc_port}"
        print(
            f"v1:      {rest}/v1/models/{model.name}:predict\n"
            f"v2:      {rest}/v2/models/{model.name}/infer  (gRPC {grpc})\n"
            f"metrics: {rest}/metrics\n"
            "Ctrl-C or SIGTERM stops it.",
            flush=True,
        )
        server.serve()


def _check_free(host: str, port: int) -> None:
    """Refuse an address at which the server could not listen.

    Raises:
        FireError: it is taken, or none of this machine's.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as each:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            each.bind((host, port))
        except OSError as error:
            raise FireError(
                f"cannot listen on {host}:{port} ({error.strerror or error}): is another server "
                "running there? --port and --grpc-port name other ports"
            ) from None
