"""The TorchServe process behind an address of this machine: its folder, and its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

MAIN_CLASS = "org.pytorch.serve.ModelServer"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
OUR_COMMAND = ("torchserve-fire", "torchserve_fire_build.commands.main")
CONFIG_FLAGS = ("-f", "--ts-config-file")
STORE_FLAGS = ("-s", "--model-store")
MODEL_FLAGS = ("-m", "--models")
NO_SNAPSHOT_FLAGS = ("-ncs", "--no-config-snapshot")


@dataclass(frozen=True)
class ServerProcess:
    """A running TorchServe.

    Attributes:
        folder: its working folder.
        config: the `--ts-config` that it was started with, None without one.
        model_store: folder with the archives, None where it is not named on the command line.
        models: of `--models`.
        snapshots: whether it writes snapshots, and looks for one when it is started without config.
        by_serve: whether `torchserve-fire serve` has started it.
    """

    folder: Path
    config: Path | None
    model_store: Path | None
    models: tuple[str, ...]
    snapshots: bool
    by_serve: bool


def find_server(url: str) -> ServerProcess | None:
    """Return the server that listens at an address; None where that is not seen from here.

    It is seen where it runs on this machine, for this user, and not in a container.
    """
    try:
        place = urlsplit(url)
        if place.hostname not in LOOPBACK or place.port is None:
            return None
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr.port == place.port
                and connection.pid
            ):
                return _describe(psutil.Process(connection.pid))
    except (psutil.Error, ValueError):
        # It ended meanwhile, or is another user's; or the address is none, as its use will say.
        pass
    return None


def _describe(process: psutil.Process) -> ServerProcess | None:
    words = process.cmdline()
    if MAIN_CLASS not in words:
        return None
    folder = Path(process.cwd())
    words = words[words.index(MAIN_CLASS) + 1 :]
    ours = next(filter(None, (_of_serve(parent.cmdline()) for parent in process.parents())), None)
    # `serve` hands TorchServe a copy of the configuration.
    config = _values(words, CONFIG_FLAGS) if ours is None else _values(ours, ("--ts-config",))
    store = _values(words, STORE_FLAGS)
    return ServerProcess(
        folder,
        folder / config[0] if config else None,
        folder / store[0] if store else None,
        tuple(_values(words, MODEL_FLAGS)),
        not any(flag in words for flag in NO_SNAPSHOT_FLAGS),
        ours is not None,
    )


def _of_serve(words: Sequence[str]) -> list[str] | None:
    """Return the arguments of `torchserve-fire serve`, None where a command line is not that."""
    for place, word in enumerate(words[:-1]):
        if Path(word).name in OUR_COMMAND and words[place + 1] == "serve":
            return list(words[place + 2 :])
    return None


def _values(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return what stands behind a flag, up to the next one."""
    for place, word in enumerate(words):
        if word in flags:
            rest = words[place + 1 :]
            end = next((k for k, each in enumerate(rest) if each.startswith("-")), len(rest))
            return list(rest[:end])
        flag, separator, value = word.partition("=")
        if separator and flag in flags and flag.startswith("--"):
            return [value]
    return []
