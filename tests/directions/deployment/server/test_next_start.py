from __future__ import annotations

from pathlib import Path

import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.client.server_process import ServerProcess
from torchserve_fire_build.deployment.server.next_start import (
    check_keep,
    keep_on_restart,
    next_start,
    next_start_without,
)
from torchserve_fire_build.deployment.server.properties import read_properties

SERVED = {"net": "net-2.0.mar", "other": "other-1.0.mar"}


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        (
            "# ours\r\nload_models = net=net-1.0.mar,x=x.mar\r\na=1\n",
            "x=x.mar,net=net-2.0.mar",
            "# ours\r\nload_models=x=x.mar,net=net-2.0.mar\na=1\n",
        ),
        (
            "load_models=x=x.mar,\\\n  net=net-1.0.mar\n#load_models=y\nb: 2",
            "x=x.mar,net=net-2.0.mar",
            "load_models=x=x.mar,net=net-2.0.mar\n#load_models=y\nb: 2",
        ),
        # The last one counts, and none may stand below the new one.
        (
            "load_models=a=a.mar\nb=2\nload_models=c=c.mar\n",
            "c=c.mar,net=net-2.0.mar",
            "load_models=c=c.mar,net=net-2.0.mar\nb=2\n",
        ),
        (
            "b=2",
            "other=other-1.0.mar,net=net-2.0.mar",
            "b=2\nload_models=other=other-1.0.mar,net=net-2.0.mar\n",
        ),
        (
            "load_models=all\n",
            "other=other-1.0.mar,net=net-2.0.mar",
            "load_models=other=other-1.0.mar,net=net-2.0.mar\n",
        ),
        # Under the name that it was packed with.
        ("load_models=tiny-1.0.mar\n", "net=net-2.0.mar", "load_models=net=net-2.0.mar\n"),
    ],
)
def test_only_load_models_changes(
    tmp_path: Path, store: Path, before: str, value: str, after: str
) -> None:
    name = "tiny" if "tiny" in before else "net"
    served = {name: "net-2.0.mar", **{k: v for k, v in SERVED.items() if k != "net"}}
    config = tmp_path / "config.properties"
    config.write_bytes(before.encode())
    config.chmod(0o600)
    wanted = value.replace("net=net-2", f"{name}=net-2")
    assert keep_on_restart(config, name, served, store) == wanted
    assert config.read_bytes().decode() == after.replace("net=net-2", f"{name}=net-2")
    assert read_properties(config)["load_models"] == wanted
    assert config.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.parametrize(
    ("before", "value"),
    [
        ("load_models=net=net-1.0.mar,x=x.mar\n", "x=x.mar"),
        ("load_models=all\n", "other=other-1.0.mar"),
        ("load_models=net=net-1.0.mar\n", ""),
    ],
)
def test_what_is_served_no_more_is_taken_out(
    tmp_path: Path, store: Path, before: str, value: str
) -> None:
    config = tmp_path / "config.properties"
    config.write_text(before)
    assert keep_on_restart(config, "net", {"other": "other-1.0.mar"}, store) == value
    assert read_properties(config)["load_models"] == value


def test_a_snapshot_is_no_place_to_keep_it(tmp_path: Path) -> None:
    config = tmp_path / "1-snapshot.cfg"
    config.write_text("model_snapshot={}\n")
    with pytest.raises(FireError, match="model_snapshot stands above load_models"):
        check_keep(config)


@pytest.mark.parametrize(
    ("config", "models", "snapshots", "by_serve", "kept", "said"),
    [
        ("c", (), True, False, None, "the next start serves what load_models of /w/c names"),
        ("c", (), True, False, "/w/c", "the next start by the same command serves net-2.0.mar"),
        ("c", (), True, False, "/w/d", "give the next start --ts-config /w/d: this one was"),
        ("c", ("net=net-1.0.mar",), True, False, None, "start --models net=net-1.0.mar does not"),
        ("c", ("net=net-1.0.mar",), True, False, "/w/c", "leave out --models at the next start"),
        (None, ("net-2.0.mar",), False, True, None, "by the same command serves net-2.0.mar"),
        (None, ("net=net-1.0.mar",), True, True, None, "serve --models net=net-1.0.mar does not"),
        (None, ("net=net-1.0.mar",), True, False, None, "in /w/logs/config, which has net-2.0"),
        (None, (), False, True, None, "loads nothing: give it --models net=net-2.0.mar"),
        (None, (), False, False, None, "what load_models of /w/config.properties names"),
    ],
)
def test_what_the_next_start_serves(
    config: str | None,
    models: tuple[str, ...],
    snapshots: bool,
    by_serve: bool,
    kept: str | None,
    said: str,
) -> None:
    folder = Path("/w")
    process = ServerProcess(
        folder, folder / config if config else None, None, models, snapshots, by_serve
    )
    lines = next_start(process, "net", "net-2.0.mar", Path(kept) if kept else None)
    assert said in "\n".join(lines)


def test_a_server_that_is_not_seen() -> None:
    (line,) = next_start(None, "net", "net-2.0.mar", None)
    assert "name net=net-2.0.mar there (--keep-on-restart FILE" in line


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("net=net.mar,x=x.mar", "ATTENTION: the next start serves net=net.mar, not net-2.0.mar"),
        ("x=net-2.0.mar", "ATTENTION: the next start serves nothing as net, not net-2.0.mar"),
        ("all", "ATTENTION: the next start serves load_models=all, not net-2.0.mar"),
        ("net=net.mar,net=net-2.0.mar", "ATTENTION: the next start serves net=net.mar, net=net-2"),
        ("x=x.mar,net=net-2.0.mar", "the next start serves net-2.0.mar, too"),
    ],
)
def test_what_load_models_names_is_said(tmp_path: Path, named: str, said: str) -> None:
    config = tmp_path / "c"
    config.write_text(f"load_models={named}\n")
    process = ServerProcess(tmp_path, config, None, (), True, False)
    (line,) = next_start(process, "net", "net-2.0.mar", None)
    assert line.startswith(said)
    assert (f"--keep-on-restart {config}" in line) == line.startswith("ATTENTION")
    (line,) = next_start_without(process, "net", None)
    assert line.startswith("ATTENTION") == (named != "x=net-2.0.mar")


@pytest.mark.parametrize(
    ("config", "models", "snapshots", "by_serve", "kept", "said"),
    [
        ("c", (), True, False, None, "take net out of load_models of /w/c"),
        ("c", (), True, False, "/w/c", "a start with /w/c and without --models does not serve net"),
        (None, (), True, False, None, "a start in /w without --ts-config takes up the latest sna"),
        (None, ("net=net-1.0.mar",), False, True, None, "leave net out of --models"),
        (None, (), False, True, None, "the next start by the same command does not serve net"),
    ],
)
def test_the_next_start_without_a_model(
    config: str | None,
    models: tuple[str, ...],
    snapshots: bool,
    by_serve: bool,
    kept: str | None,
    said: str,
) -> None:
    folder = Path("/w")
    process = ServerProcess(
        folder, folder / config if config else None, folder / "s", models, snapshots, by_serve
    )
    (line,) = next_start_without(process, "net", Path(kept) if kept else None)
    assert line.startswith(said)


def test_the_next_start_of_a_server_elsewhere_without_a_model() -> None:
    (line,) = next_start_without(None, "net", None)
    assert line.startswith("the next start serves what its --models or load_models names")
