"""The Dockerfile of deploy/, by hadolint, and against what is in this project."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

from tests.deploy.manifests import DEPLOY, ROOT

DOCKERFILE = DEPLOY / "Dockerfile"


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_each_way_to_serve_is_an_extra() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    (ways,) = re.findall(r"^ +(\S+\|\S+)\) ;;", DOCKERFILE.read_text(), re.M)
    assert "torchserve" in ways.split("|")
    there = [way for way in ways.split("|") if way in config["options.extras_require"]]
    assert "torchserve" in there


def test_what_is_built_from_gets_into_the_image_and_no_more() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {line[1:] for line in rules if line.startswith("!")}
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    needed = {"pyproject.toml", "setup.cfg"}
    needed |= set(config["options.data_files"]["share/torchserve-fire"].split())
    needed |= {re.sub(r"^file: *", "", config["metadata"]["long_description"])}
    folders = config["options"]["package_dir"].split()[2::3]
    needed |= {Path(folder).parts[0] for folder in folders}
    assert needed <= let_in
    assert all((ROOT / name).exists() for name in let_in)
