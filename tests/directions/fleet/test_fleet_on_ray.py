"""A fleet on real workers of Ray, which are killed on the way."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.directions.fleet.fleet_files import write_archive, write_clean

pytestmark = pytest.mark.slow

# Whoever loads the model says so; where a file says it, the worker is killed.
TOLD = """
import os, signal

def tell():
    if any("ray::" in part for part in open("/proc/self/cmdline").read().split(chr(0))):
        with open({log!r}, "a") as log:
            print({name!r}, os.getpid(), file=log)
        if os.path.exists({deadly!r}):
            {once}
            os.kill(os.getpid(), signal.SIGKILL)

tell()
"""


def inspect(folder, *arguments):
    """Run the command with one thread; return its process, and what it printed."""
    command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "inspect"]
    process = subprocess.Popen(
        [*command, "--archives", "store/*.mar", "--clean", "clean", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate()
    return process, out, err


def found_in(file):
    """What was found, by the archives' names, without the times it took."""

    def timeless(value):
        if isinstance(value, dict):
            return {name: timeless(each) for name, each in value.items() if name != "seconds"}
        if isinstance(value, list):
            return [timeless(each) for each in value]
        return re.sub(r"\(\d+ s", "(", value) if isinstance(value, str) else value

    return {each["archive"]: timeless(each) for each in json.loads(file.read_text())["archives"]}


def test_a_killed_worker_loses_its_models_work_alone(tmp_path):
    store, log = tmp_path / "store", tmp_path / "log"
    store.mkdir()
    write_clean(tmp_path / "clean")
    for name, corner, dies in (("a", 0, ""), ("b", 120, "once"), ("c", 0, ""), ("d", 0, "always")):
        deadly = tmp_path / f"deadly-{name}"
        told = TOLD.format(
            name=name,
            log=str(log),
            deadly=str(deadly),
            once=f"os.remove({str(deadly)!r})" if dies == "once" else "",
        )
        write_archive(store, name, corner=corner, before=told)
        if dies:
            deadly.touch()
    process, out, err = inspect(
        tmp_path, "--engine", "ray", "--workers", "2", "--json", "ray.json", "--cache", "kept"
    )
    assert (process.returncode, err) == (1, "")
    # The one that kills whoever loads it is a row, and no more.
    assert re.search(r"store/d-1\.0\.mar +failed", out)
    assert "store/d-1.0.mar: its worker was killed, each of 3 times" in out
    workers = {}
    for line in log.read_text().splitlines():
        name, pid = line.split()
        workers.setdefault(name, set()).add(pid)
    assert {name: len(pids) for name, pids in workers.items()} == {"a": 1, "b": 2, "c": 1, "d": 3}
    # As one process finds it, to the bit.
    assert inspect(tmp_path, "--json", "here.json")[0].returncode == 1
    on_ray, here = (found_in(tmp_path / file) for file in ("ray.json", "here.json"))
    assert on_ray.pop("store/d-1.0.mar")["found"] is None
    assert here.pop("store/d-1.0.mar")["found"] is False
    assert on_ray == here
    assert len(list((tmp_path / "kept").glob("inspected-*.json"))) == 3
    # Nothing of Ray is left; a session has the number of its driver's process.
    session = f"_{process.pid}/"
    assert not [p for p in psutil.process_iter(["cmdline"]) if session in str(p.info["cmdline"])]
    assert not list(Path("/tmp").glob(f"fire-ray-*/session*_{process.pid}"))  # noqa: S108
