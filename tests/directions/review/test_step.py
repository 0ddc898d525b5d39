"""A step's progress is read while it runs, and it can be cancelled."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from torchserve_fire_build.review.step import Step, StepStatus

BAR = """
import sys, time
from tqdm import tqdm
print("begun", flush=True)
for _ in tqdm(range(4), desc="reading"):
    time.sleep(0.3)
print("\\x1b[31mended\\x1b[0m")
"""
WAITING = """
import signal, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    print("waits", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("put right")
    raise SystemExit(130)
"""


def started(program: str) -> tuple[Step, list[int]]:
    ended: list[int] = []
    return Step("test", [sys.executable, "-c", program], ended.append), ended


def wait_until(step: Step, done: Callable[[StepStatus], bool]) -> None:
    until = time.monotonic() + 60
    while not done(step.status()):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_bars_and_lines_are_told_apart() -> None:
    step, ended = started(BAR)
    wait_until(step, lambda now: now.doing == "reading" and now.percent in (25, 50, 75))
    assert step.status().state == "running"
    step.wait()
    status = step.status()
    assert (status.state, status.percent, ended) == ("done", None, [0])
    assert list(status.lines) == ["begun", "ended"]


def test_a_cancelled_step_puts_right_what_it_has_begun() -> None:
    step, ended = started(WAITING)
    wait_until(step, lambda now: "waits" in now.lines)
    step.cancel()
    step.cancel()
    step.wait()
    assert (step.status().state, ended) == ("cancelled", [130])
    assert list(step.status().lines) == ["waits", "put right"]
    step.cancel()


def test_a_step_that_fails_says_why() -> None:
    step, ended = started("raise SystemExit('no such thing')")
    step.wait()
    assert (step.status().state, ended) == ("failed", [1])
    assert list(step.status().lines) == ["no such thing"]


def test_it_counts_as_ended_only_when_its_result_is_taken() -> None:
    go_on, states = threading.Event(), []
    step = Step("test", [sys.executable, "-c", ""], lambda status: states.append(go_on.wait(60)))
    time.sleep(0.5)
    assert step.status().state == "running"
    go_on.set()
    step.wait()
    assert (step.status().state, states) == ("done", [True])
