"""What the next start of a server loads, and writing it where TorchServe reads it.

TorchServe 0.12 keeps nothing of what was registered, except in snapshots. It reads the file of
`--ts-config`; without one, and without `--no-config-snapshots`, the latest snapshot under
`logs/config`; else `config.properties` in its working folder. A snapshot names the models by
itself. Else `--models` counts, and without it `load_models` of the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from torchserve_fire.errors import FireError
from torchserve_fire.format.write_file import check_writable

from ..archive.any_archive import read_manifest
from ..client.server_process import ServerProcess
from .properties import COMMENT, CONFIG_NAME, CONTINUED, SETTING, find_config, read_properties

LOAD_MODELS, SNAPSHOT = "load_models", "model_snapshot"
ALL = "ALL"
ATTENTION = "ATTENTION: "


def check_keep(config: Path) -> None:
    """Refuse a configuration that cannot be made to load an archive at the next start.

    Raises:
        FireError: it cannot be read or written, or a snapshot in it names the models.
    """
    check_writable(config.resolve())
    if SNAPSHOT in read_properties(config):
        raise FireError(
            f"--keep-on-restart {config}: {SNAPSHOT} stands above {LOAD_MODELS}, expected a "
            "configuration that is no snapshot"
        )


def keep_on_restart(config: Path, name: str, served: Mapping[str, str], model_store: Path) -> str:
    """Make a configuration load what is served of a model; everything else in it stays as it is.

    Args:
        config: the `config.properties`.
        name: the model's name.
        served: archive of each model that is served now, the model's among them unless it is to be
            loaded no more; the others are loaded where the configuration names no models, or all.
        model_store: the server's model store.

    Returns:
        The new value of `load_models`.

    Raises:
        FireError: as `check_keep`.
    """
    check_keep(config)
    before = read_properties(config).get(LOAD_MODELS, "")
    if before and before.upper() != ALL:
        entries = [entry.strip() for entry in before.split(",") if entry.strip()]
        kept = [entry for entry in entries if _model_of(entry, model_store) != name]
    else:
        kept = [f"{other}={archive}" for other, archive in served.items() if other != name]
    value = ",".join([*kept, *([f"{name}={served[name]}"] if name in served else [])])
    _write_setting(config.resolve(), LOAD_MODELS, value)
    return value


def next_start(
    process: ServerProcess | None, name: str, archive: str, kept: Path | None
) -> list[str]:
    """Return lines that say what the next start serves under a name, and how it serves an archive.

    Args:
        process: how the server runs; None where that is not known.
        name: the model's name.
        archive: file name of the archive that is served now.
        kept: the configuration whose `load_models` names it, None where there is none.
    """
    wanted = f"{name}={archive}"
    if process is None:
        if kept is not None:
            return [f"a start with {kept} and without --models serves {archive}"]
        return [
            "the next start serves what its --models or load_models names, not what is served now: "
            f"name {wanted} there (--keep-on-restart FILE writes load_models)"
        ]
    command = "torchserve-fire serve" if process.by_serve else "torchserve --start"
    if _takes_snapshot(process):
        folder = process.folder / "logs" / "config"
        lines = [
            f"a start in {process.folder} without --ts-config takes up the latest snapshot in "
            f"{folder}, which has {archive}"
        ]
        if kept is not None:
            lines.append(f"a start with --ts-config {kept} and without --models serves it, too")
        return lines
    if process.models:
        named = [model.partition("=") for model in process.models]
        if wanted in process.models or ("", "", archive) in [(b, c, a) for a, b, c in named]:
            return [f"the next start by the same command serves {archive}"]
        given = f"{command} --models {' '.join(process.models)}"
        if kept is not None:
            return [f"leave out --models at the next start: it stands above load_models of {kept}"]
        return [f"{ATTENTION}the next {given} does not serve {archive}: name {wanted} in --models"]
    config = config_of(process)
    if kept is not None and kept.resolve() == config.resolve():
        return [f"the next start by the same command serves {archive}"]
    if kept is not None:
        return [f"give the next start --ts-config {kept}: this one was started with {config}"]
    if process.by_serve and process.config is None:
        return [
            f"{ATTENTION}the next {command} by the same command loads nothing: give it --models "
            f"{wanted}"
        ]
    try:
        loaded = _loaded(process, config, name)
    except FireError:
        return [
            f"{ATTENTION}the next start serves what load_models of {config} names, which cannot be "
            f"read here: name {wanted} there"
        ]
    if loaded and all(entry.rpartition("=")[2] == archive for entry in loaded):
        return [f"the next start serves {archive}, too: load_models of {config} names it"]
    return [
        f"{ATTENTION}the next start serves {', '.join(loaded) or f'nothing as {name}'}, not "
        f"{archive} (load_models of {config}): run deploy or swap again with --keep-on-restart "
        f"{config}"
    ]


def next_start_without(process: ServerProcess | None, name: str, kept: Path | None) -> list[str]:
    """Return lines that say whether the next start serves a model that is served no more.

    Args:
        process: how the server runs; None where that is not known.
        name: the model's name.
        kept: the configuration from whose `load_models` it was taken, None where there is none.
    """
    if process is not None and _takes_snapshot(process):
        folder = process.folder / "logs" / "config"
        return [
            f"a start in {process.folder} without --ts-config takes up the latest snapshot in "
            f"{folder}, which has no {name} any more"
        ]
    if process is not None and process.models:
        return [f"leave {name} out of --models at the next start, if it is named there"]
    if kept is not None:
        return [f"a start with {kept} and without --models does not serve {name}"]
    if process is None:
        return [
            "the next start serves what its --models or load_models names: take "
            f"{name} out there (--keep-on-restart FILE does so in load_models)"
        ]
    if process.by_serve and process.config is None:
        return [f"the next start by the same command does not serve {name}"]
    config = config_of(process)
    try:
        loaded = _loaded(process, config, name)
    except FireError:
        return [f"take {name} out of load_models of {config}, if it is named there"]
    if not loaded:
        return [f"the next start by the same command does not serve {name}"]
    return [
        f"{ATTENTION}the next start serves {', '.join(loaded)} again: take it out of load_models "
        f"of {config}"
    ]


def config_of(process: ServerProcess) -> Path:
    """Return the configuration that a server was started with.

    Raises:
        FireError: it is this project's own, which is not found.
    """
    if process.config is not None:
        return process.config
    return find_config() if process.by_serve else process.folder / CONFIG_NAME


def _loaded(process: ServerProcess, config: Path, name: str) -> list[str]:
    """Return the entries of `load_models` that are served under a name, or may be: `ALL`."""
    settings = read_properties(config)
    value = settings.get(LOAD_MODELS, "")
    if value.upper() == ALL:
        return [f"{LOAD_MODELS}={value}"]
    store = process.model_store or process.folder / settings.get("model_store", "model_store")
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    return [entry for entry in entries if _model_of(entry, store) == name]


def _takes_snapshot(process: ServerProcess) -> bool:
    return process.snapshots and process.config is None and not process.by_serve


def _model_of(entry: str, model_store: Path) -> str:
    """Return the name under which `load_models` registers an entry."""
    name, separator, _ = entry.partition("=")
    if separator:
        return name
    try:
        return str(read_manifest(model_store / entry)["model"].get("modelName"))
    except FireError:
        return ""


def _write_setting(config: Path, key: str, value: str) -> None:
    """Give a setting another value, in its first place; the file keeps its permissions."""
    line = f"{key}={value}\n"
    try:
        text = config.read_bytes().decode("utf-8")
        lines, place = [], None
        for entry in _logical_lines(text):
            found = None if COMMENT.match(entry) else SETTING.match(CONTINUED.sub("", entry))
            if found is None or found[1] != key:
                lines.append(entry)
            elif place is None:
                place = len(lines)
                lines.append(line)
        if place is None:
            if lines and not lines[-1].endswith("\n"):
                lines[-1] += "\n"
            lines.append(line)
        with tempfile.NamedTemporaryFile(
            prefix=f".{config.name}.", suffix=".tmp", dir=config.parent, delete=False
        ) as file:
            temporary = Path(file.name)
            file.write("".join(lines).encode("utf-8"))
        try:
            # It may hold a password.
            temporary.chmod(config.stat().st_mode & 0o7777)
            temporary.replace(config)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise FireError(f"{config}: cannot be written: {error.strerror}") from None


def _logical_lines(text: str) -> list[str]:
    """Return the lines of a properties file, with those that a backslash continues in one."""
    entries: list[str] = []
    continued = False
    for line in text.splitlines(keepends=True):
        if continued:
            entries[-1] += line
        else:
            entries.append(line)
        comment = not continued and COMMENT.match(line) is not None
        body = line.rstrip("\r\n")
        backslashes = len(body) - len(body.rstrip("\\"))
        continued = not comment and backslashes % 2 == 1
    return entries
