"""Batches: never larger than asked for, never late, never mixed, and refused in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from torchserve_fire.core.answer import Answer
from torchserve_fire.core.batching import Batching
from torchserve_fire.serve.kserve.batcher import Batcher
from torchserve_fire.serve.refusals import QueueFullError


class Recorder:
    """Answers each body with itself, and takes note of the batches."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.identifiers: list[str] = []
        self.go = threading.Event()
        self.go.set()

    def answer(self, bodies: Sequence[Any], identifiers: Sequence[str]) -> list[Answer]:
        assert self.go.wait(30)
        self.batches.append(list(bodies))
        self.identifiers += identifiers
        if "fails" in bodies:
            raise ValueError("the model's own")
        return [Answer(200, body) for body in bodies]


async def ask_all(batcher: Batcher, bodies: Sequence[Any]) -> list[Any]:
    asked = (batcher.ask(body, f"id-{body}") for body in bodies)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return [answer.body if isinstance(answer, Answer) else answer for answer in answers]


def test_each_gets_its_own_answer_in_batches_of_at_most_that_size() -> None:
    recorder = Recorder()

    async def run() -> list[Any]:
        return await ask_all(Batcher(recorder.answer, Batching(8, 0.05)), range(20))

    assert asyncio.run(run()) == list(range(20))
    assert [len(batch) for batch in recorder.batches] == [8, 8, 4]
    assert recorder.identifiers == [f"id-{k}" for k in range(20)]


def test_the_first_waits_no_longer_than_the_delay() -> None:
    recorder = Recorder()

    async def run() -> float:
        batcher = Batcher(recorder.answer, Batching(8, 0.2))
        first = asyncio.create_task(batcher.ask("first", "1"))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(batcher.ask("second", "2"))
        begun = asyncio.get_running_loop().time()
        await asyncio.gather(first, second)
        return asyncio.get_running_loop().time() - begun

    assert asyncio.run(run()) >= 0.1
    assert recorder.batches == [["first", "second"]]


def test_what_waits_while_a_batch_is_answered_makes_the_next_one() -> None:
    recorder = Recorder()

    async def run() -> None:
        batcher = Batcher(recorder.answer, Batching(4, 0.0))
        recorder.go.clear()
        first = asyncio.create_task(batcher.ask("first", "1"))
        await asyncio.sleep(0.05)
        others = asyncio.create_task(ask_all(batcher, range(6)))
        await asyncio.sleep(0.05)
        recorder.go.set()
        await asyncio.gather(first, others)

    asyncio.run(run())
    assert recorder.batches == [["first"], [0, 1, 2, 3], [4, 5]]


def test_a_full_queue_refuses_and_loses_nothing() -> None:
    recorder = Recorder()

    async def run() -> list[Any]:
        batcher = Batcher(recorder.answer, Batching(1, 0.0, queue=3))
        recorder.go.clear()
        first = asyncio.create_task(batcher.ask("first", "1"))
        await asyncio.sleep(0.05)
        others = asyncio.create_task(ask_all(batcher, range(5)))
        await asyncio.sleep(0.05)
        recorder.go.set()
        await first
        return await others

    answers = asyncio.run(run())
    assert answers[:3] == [0, 1, 2]
    assert [type(answer) for answer in answers[3:]] == [QueueFullError] * 2


def test_a_batch_that_fails_takes_no_other_with_it() -> None:
    recorder = Recorder()

    async def run() -> list[Any]:
        batcher = Batcher(recorder.answer, Batching(2, 0.0))
        return await ask_all(batcher, ["a", "b", "fails", "c", "d", "e"])

    answers = asyncio.run(run())
    assert [type(answer) for answer in answers[2:4]] == [ValueError] * 2
    assert answers[:2] + answers[4:] == ["a", "b", "d", "e"]


@pytest.mark.parametrize("size", [1, 3])
def test_who_went_away_is_missed_by_nobody(size: int) -> None:
    recorder = Recorder()

    async def run() -> list[Any]:
        batcher = Batcher(recorder.answer, Batching(size, 0.01))
        recorder.go.clear()
        gone = asyncio.create_task(batcher.ask("gone", "1"))
        others = asyncio.create_task(ask_all(batcher, range(4)))
        await asyncio.sleep(0.05)
        gone.cancel()
        recorder.go.set()
        return await others

    assert asyncio.run(run()) == [0, 1, 2, 3]
