"""What the configuration of Ray Serve says of an application: its arguments, and `user_config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ...format.fields import Fields, shown
from ...model.config import public_keys

GRPC_CLIENTS = ("loopback", "any")


@dataclass(frozen=True)
class Arguments:
    """The arguments of the application.

    Attributes:
        archive: path of the archive, or of its unpacked folder, on the nodes with replicas.
        trusted_keys: public keys, one of which must have signed the archive, and each bundle that
            is swapped in; None: those that the archive names itself, if any.
        answers_other_machines: whether clients of gRPC that are not at loopback are answered: Ray
            Serve opens its port for gRPC to all.
    """

    archive: str
    trusted_keys: tuple[str, ...] | None = None
    answers_other_machines: bool = False


def read_arguments(values: Any) -> Arguments:
    """Read what stands under `args:`, or is given as NAME=VALUE.

    Raises:
        ConfigError: something is unknown, missing, or has a wrong value.
    """
    fields = _fields(values, "args", "archive: /models/net-1.0.mar")
    archive = fields.text("archive")
    keys = None
    if fields.has("trusted_keys"):
        keys = public_keys(fields.raw("trusted_keys"), fields.where("trusted_keys"))
    anyone = fields.has("grpc_clients") and fields.choice("grpc_clients", GRPC_CLIENTS) == "any"
    fields.finish()
    return Arguments(archive, keys, anyone)


def read_user_config(values: Any) -> str | None:
    """Read what stands under `user_config:`.

    Returns:
        The path of the bundle that is to serve; None: the archive's own.

    Raises:
        ConfigError: something is unknown, or has a wrong value.
    """
    if values is None:
        return None
    fields = _fields(values, "user_config", "bundle: /bundles/better.safetensors")
    bundle = fields.text("bundle") if fields.has("bundle") else None
    fields.finish()
    return bundle


def _fields(values: Any, what: str, example: str) -> Fields:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{what}: {shown(values)}, expected a map such as {{{example}}}")
    return Fields(values, what, ConfigError)
