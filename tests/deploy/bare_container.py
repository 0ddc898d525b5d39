"""A container without a runtime: a read-only root, another user, no capabilities, its own network.

It has what the pods of deploy/kubernetes have: /tmp and /work to write to, and mounts to read. The
image's own folders are not there: Python and the packages are those of the tests.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

import torchserve_fire
import torchserve_fire_build

from .manifests import ROOT

USER = 10001
ISOLATED = [
    *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"),
    *("--propagation", "private"),
]
SYSTEM = ("bin", "etc", "lib", "lib64", "sbin", "usr")
DEVICES = ("full", "null", "random", "urandom", "zero")
PYTHON = tuple(str(Path(each).resolve()) for each in (ROOT, sys.prefix, sys.base_prefix))
PACKAGES = [
    str(Path(each.__file__).parents[1]) for each in (torchserve_fire, torchserve_fire_build)
]
COMMAND = [sys.executable, "-m", "torchserve_fire_build.commands.main"]


def can_be_made() -> bool:
    """Whether this machine lets us: it takes root, and namespaces."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "setpriv"))):
        return False
    return subprocess.run([*ISOLATED, "true"], capture_output=True, check=False).returncode == 0


class BareContainer:
    """Runs `torchserve-fire` as the entry point of an image, where it is the first process.

    Args:
        folder: where its root is put together, and its log is.
        mounts: what is read there, by its place inside.
        arguments: of `torchserve-fire`.
    """

    def __init__(self, folder: Path, mounts: Mapping[str, Path], arguments: Sequence[str]) -> None:
        self.log = folder / "log"
        root = folder / "root"
        root.mkdir()
        entry_point = [*COMMAND, *arguments]
        script = [*_root(root, mounts), f"exec chroot {root} {shlex.join(_as_user(entry_point))}"]
        with self.log.open("wb") as log:
            self._outside = subprocess.Popen(
                [*ISOLATED, "sh", "-ec", "\n".join(script)], stdout=log, stderr=log
            )

    @property
    def first_process(self) -> int:
        """That of the entry point, by its number outside."""
        deadline = time.monotonic() + 10
        while not (children := psutil.Process(self._outside.pid).children()):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        return children[0].pid

    def run_as_root(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command inside with all rights, which nothing in a pod has."""
        target = f"--target={self.first_process}"
        return subprocess.run(
            ["nsenter", target, "--mount", "--net", "--pid", "--root", "--wd=/work", *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command inside as the image's user, as a probe of Kubernetes is run."""
        return self.run_as_root(_as_user(command))

    def wait_for(self, command: Sequence[str], seconds: float = 180) -> None:
        """Run a command again and again until it succeeds."""
        deadline = time.monotonic() + seconds
        while (found := self.run(command)).returncode != 0:
            assert self._outside.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, found.stderr + self.log.read_text()
            time.sleep(1)

    def stop(self) -> int:
        """End it as Kubernetes does, and return its status; what is left after that is killed."""
        try:
            psutil.Process(self.first_process).terminate()
            return self._outside.wait(90)
        finally:
            self._outside.kill()
            self._outside.wait()


def _root(root: Path, mounts: Mapping[str, Path]) -> list[str]:
    """Return what puts a root file system together, read-only but for /tmp, /work and /dev/shm."""
    lines = [
        f"mount -t tmpfs -o mode=755 root {root}",
        f"cd {root}",
        "mkdir tmp work proc dev",
        "mount -t tmpfs -o mode=1777 tmp tmp",
        f"mount -t tmpfs -o mode=770,uid={USER},gid={USER} work work",
        "mount -t proc proc proc",
        "mkdir dev/shm",
        "mount -t tmpfs -o mode=1777 shm dev/shm",
    ]
    for name in DEVICES:
        lines += [f"touch dev/{name}", f"mount --bind /dev/{name} dev/{name}"]
    for inside, outside in [
        *((f"/{name}", Path("/", name).resolve()) for name in SYSTEM if Path("/", name).exists()),
        *((each, Path(each)) for each in PYTHON),
        *mounts.items(),
    ]:
        place = shlex.quote(inside[1:])
        lines += [
            f"mkdir -p {place}",
            f"mount --bind {shlex.quote(str(outside))} {place}",
            f"mount -o remount,bind,ro {place}",
        ]
    return [*lines, f"mount -o remount,ro {root}", "ip link set lo up", "cd /"]


def _as_user(command: Sequence[str]) -> list[str]:
    """Return a command as the image's user runs it, in the image's environment."""
    environment = {
        "HOME": "/tmp",  # noqa: S108 - as in the image.
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join(PACKAGES),
        "OMP_NUM_THREADS": "1",
    }
    return [
        "/usr/bin/setpriv",
        *(f"--reuid={USER}", f"--regid={USER}", "--clear-groups"),
        *("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"),
        *("/usr/bin/env", "--ignore-environment", "--chdir=/work"),
        *(f"{name}={value}" for name, value in environment.items()),
        *command,
    ]
