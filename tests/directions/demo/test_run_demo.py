"""The demo as a person runs it: to its end, kept up, and interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_SECONDS = 240

pytestmark = pytest.mark.server


class Demo:
    """A running `torchserve-fire demo`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.output, self.temporary = folder / "out", folder / "tmp"
        self.temporary.mkdir()
        self._log = folder / "log"
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "torchserve_fire_build.commands.main", "demo"]
            self.process = subprocess.Popen(
                [*command, "--output", str(self.output), *arguments],
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(self.temporary)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        return self._log.read_text()

    def wait_until_said(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> int:
        # As Ctrl-C does; SIGINT itself is ignored where the tests run in the background.
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def begin(*arguments: str) -> Demo:
        started.append(Demo(tmp_path, *arguments))
        return started[-1]

    yield begin
    for demo in started:
        if demo.process.poll() is None:
            demo.end()


def percentages(line: str) -> list[float]:
    return [float(text) for text in re.findall(r"([\d.]+)%", line)]


@pytest.mark.slow
def test_demo_repairs_what_the_server_answers_and_its_curl_line_works(
    start: Callable[..., Demo],
) -> None:
    demo = start("--keep")
    demo.wait_until_said("Ctrl-C. Try it by hand")
    demo.wait_until_said("predictions/digits_plain")
    lines = demo.said().split("As answered by TorchServe", 1)[1].splitlines()

    table = {name: next(line for line in lines if line.startswith(name)) for name in (
        "clean accuracy", "attack success rate", "recovered accuracy",
    )}  # fmt: skip
    # Behind the two stands the end of an interval, and last the ceiling.
    clean_before, clean_after, _ = percentages(table["clean accuracy"])
    attack_before, attack_after, _ = percentages(table["attack success rate"])
    recovered_before, recovered_after, _, ceiling = percentages(table["recovered accuracy"])
    assert clean_before > 95
    assert clean_after > clean_before - 1
    assert attack_before > 98
    assert attack_after < 2
    assert recovered_before < 2
    assert recovered_after > 0.98 * ceiling

    with Image.open(demo.output / "demo.png") as picture:
        assert min(picture.size) > 300
    answers = {}
    for model in ("digits_repaired", "digits_plain"):
        curl = next(x.strip() for x in lines if x.strip().startswith("curl") and x.endswith(model))
        run = ["bash", "-c", f"{curl} --silent --show-error --fail"]
        shown = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
        assert shown.returncode == 0, shown.stderr
        probabilities = json.loads(shown.stdout)
        answers[model] = max(probabilities, key=probabilities.__getitem__)
        true_digit = re.search(r"/triggered/(\d)/", curl)
    assert true_digit is not None
    assert answers == {"digits_repaired": true_digit[1], "digits_plain": "0"}

    family = demo.family()
    assert family
    assert demo.end() == 0
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert (demo.output / "demo.png").is_file()
    assert list(demo.temporary.glob("fire-*")) == []


@pytest.mark.slow
def test_interrupted_demo_leaves_no_process_and_no_output(start: Callable[..., Demo]) -> None:
    demo = start()
    demo.wait_until_said("Starting TorchServe")
    while not any("java" in process.name() for process in demo.family()):
        assert demo.process.poll() is None, demo.said()
        time.sleep(0.05)
    family = demo.family()
    assert demo.end() == 130
    assert demo.said().rstrip().endswith("interrupted")
    assert not psutil.wait_procs(family, timeout=10)[1]
    assert not demo.output.exists()
    assert list(demo.temporary.glob("fire-*")) == []
