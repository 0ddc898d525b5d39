"""On every engine, bundles are swapped under load, and no request is lost or mixed with another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests

from benchmarks.load.steady import steady_traffic, wait_for
from tests.server.traffic import PAUSE_SECONDS, Outcome, body_of, is_bad, is_right
from tests.tiny import TinyFiles
from torchserve_fire.format.bundle_file import load_bundle

from .conftest import Started
from .engine import Engine, Sent

CLIENTS = 3
SWAPS = 6
FEW = 30
"""Answers to wait for: more than those that were on their way."""


def client(engine: Engine) -> Callable[[int], Outcome]:
    session = requests.Session()

    def ask(index: int) -> Outcome:
        try:
            told = engine.ask(Sent(body_of(index)), session=session)
        except requests.RequestException as error:
            return Outcome(index, 0, str(error))
        return Outcome(index, told.status, told.body, told.headers.get("x-fire-bundle", ""))

    return ask


@contextmanager
def traffic(engine: Engine) -> Iterator[list[Outcome]]:
    with steady_traffic([client(engine) for _ in range(CLIENTS)], PAUSE_SECONDS) as outcomes:
        wait_for(outcomes, FEW)
        yield outcomes


def newest(outcomes: list[Outcome]) -> set[str]:
    """Which bundles answered last."""
    wait_for(outcomes, FEW)
    return {each.bundle for each in outcomes[-10:] if not is_bad(each.index)}


def test_swaps_under_load_lose_and_mix_nothing(started: Started, tiny: TinyFiles) -> None:
    files = [tiny.other_bundle, tiny.bundle]
    digests = [load_bundle(file).digest for file in files]
    with traffic(started.engine) as outcomes:
        for number in range(SWAPS):
            started.engine.swap(files[number % 2])
            assert newest(outcomes) == {digests[number % 2]}
            if number % 3 == 2:
                # For other weights: the bundle that serves goes on.
                started.engine.swap(tiny.foreign_bundle)
                assert newest(outcomes) == {digests[number % 2]}
    assert [each for each in outcomes if not is_right(each)] == []
    assert {each.bundle for each in outcomes if not is_bad(each.index)} == set(digests)
