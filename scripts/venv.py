"""Make or refresh the checkout's .venv, with this project installed in editable mode.

Run by scripts/demo and scripts/test: `python3 scripts/venv.py [EXTRA,...]`, with extras of this
project. It writes nothing outside the checkout. A .venv that is already right costs a fraction of a
second.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
DELETED = ROOT / ".venv-deleted"
LOG = VENV / "install.log"
PARENT = os.getppid()
# Stands there while pip works: found by the next run, an installation was cut short.
UNFINISHED = VENV / ".unfinished"
NEWEST_TRIED = (3, 13)
"""The newest Python for which all dependencies are known to have wheels."""


def main() -> int:
    """Bring .venv up to date; return the exit status."""
    extras = sys.argv[1] if len(sys.argv) > 1 else ""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _one_run_at_a_time():
            return _refresh(extras)
    except KeyboardInterrupt:
        print("interrupted; the next run begins anew", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"cannot make {VENV}: {error}", file=sys.stderr)
        return 1


def _refresh(extras: str) -> int:
    stamp, wanted = VENV / f".installed-{extras or 'base'}", _wanted()
    if (
        stamp.is_file()
        and stamp.read_text() == wanted
        and _venv_version() == _version()
        and not UNFINISHED.exists()
    ):
        return 0
    if DELETED.exists():
        shutil.rmtree(DELETED)
    # With no reason against it, a .venv that somebody made by hand is kept and added to.
    if reason := _unusable():
        print(f"making {VENV} anew: {reason}", flush=True)
        # Under its name, one that is deleted by half would be taken for a whole one.
        VENV.rename(DELETED)
    if DELETED.exists():
        shutil.rmtree(DELETED)
    new = not VENV.exists()
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    print(
        "installing torch, TorchServe and the rest; from nothing, 6 GB in some minutes", flush=True
    )
    if new:
        print(f"making {VENV} with Python {_version()}", flush=True)
        status = _run_to_end([sys.executable, "-m", "venv", str(VENV)])
    if not new or status == 0:
        project = f"{ROOT}[{extras}]" if extras else str(ROOT)
        install = ["-m", "pip", "install", "--progress-bar", "off", "-e", project]
        status = _run_to_end([str(PYTHON), *install])
        if status != 0 and sys.version_info[:2] > NEWEST_TRIED:
            newest = ".".join(map(str, NEWEST_TRIED))
            print(
                f"a dependency may have no wheel for Python {_version()} yet: try another one, "
                f"as PYTHON=python{newest}",
                file=sys.stderr,
            )
    if status == 0:
        (VENV / ".python").write_text(_origin())
        stamp.write_text(wanted)
    # A command that failed by itself, as without a network, has left nothing half-done.
    UNFINISHED.unlink()
    return status


def _unusable() -> str:
    """Return why an existing .venv cannot be kept; nothing where it can, or where there is none."""
    origin, version = VENV / ".python", _venv_version()
    if not VENV.exists():
        return ""
    if version is None:
        return "it is broken"
    if UNFINISHED.exists():
        return "its installation was cut short"
    if version != _version():
        return f"it has Python {version}"
    if origin.is_file() and origin.read_text() != _origin():
        return "it was made in another folder"
    return ""


def _venv_version() -> str | None:
    """Return the version of .venv's Python, or None where that, or its pip, does not work."""
    check = "import pip, sys; print(*sys.version_info[:2], sep='.')"
    try:
        answer = subprocess.run(  # noqa: S603 - the checkout's own interpreter.
            [PYTHON, "-c", check], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _run_to_end(command: list[str]) -> int:
    """Run a command with its output in the log; end all that it started where we are interrupted.

    Returns:
        0, or 1 where it failed; the end of what it said is printed then.
    """
    temporary = VENV / "tmp"
    temporary.mkdir(exist_ok=True)
    # pip unpacks gigabytes: in the checkout, where there must be room for them anyway.
    environment = dict(os.environ, TMPDIR=str(temporary))
    try:
        with LOG.open("w") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreters.
                command, stdout=log, stderr=log, env=environment, cwd=ROOT, start_new_session=True
            )
            try:
                _follow(process)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if process.returncode == 0:
        return 0
    lines = LOG.read_text(errors="replace").splitlines()
    print("\n".join(lines[-15:]), file=sys.stderr)
    print(f"failed: {' '.join(command)}; all it said is in {LOG}", file=sys.stderr)
    return 1


def _follow(process: subprocess.Popen[bytes]) -> None:
    """Show how far it is: one line kept up to date on a terminal, else a line now and then."""
    terminal = sys.stdout.isatty()
    start = shown = time.monotonic()
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        if os.getppid() != PARENT:  # The script that called was killed.
            raise KeyboardInterrupt
        now = time.monotonic()
        text = f"  {now - start:4.0f} s  {_last_line()}"
        if terminal:
            print(f"\r{text[:78]:78}", end="", flush=True)
        elif now - shown >= 20:
            print(text[:100], flush=True)
            shown = now
    if terminal:
        print(f"\r{'':78}\r", end="", flush=True)


def _last_line() -> str:
    lines = LOG.read_text(errors="replace").splitlines()
    return lines[-1].strip() if lines else ""


def _wanted() -> str:
    """Return what an installation depends on: a digest of its description, Python, and place."""
    digest = hashlib.sha256()
    for name in ("setup.cfg", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return f"{digest.hexdigest()} {_origin()}"


def _origin() -> str:
    # The commands in .venv/bin name their Python by its full path.
    return f"{_version()} {VENV}"


def _version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


@contextlib.contextmanager
def _one_run_at_a_time() -> Iterator[None]:
    """Hold a lock on the checkout's folder, so that two runs do not install into each other."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run that is making .venv", flush=True)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


if __name__ == "__main__":
    sys.exit(main())
