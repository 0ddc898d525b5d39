"""Making batches of concurrent requests, which KServe's SDK does not do by itself."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ...core.answer import Answer
from ...core.batching import Batching
from ..refusals import QueueFullError

Answering = Callable[[Sequence[Any], Sequence[str]], list[Answer]]
"""Answers the bodies of a batch, with an identifier of each for the log."""


@dataclass(frozen=True)
class Waiting:
    """A request that waits for its batch.

    Attributes:
        body: as `ServedModel.answer` takes it.
        identifier: for the log.
        answer: is set once it is known.
    """

    body: Any
    identifier: str
    answer: asyncio.Future[Answer]


class Batcher:
    """Answers requests in batches, one batch at a time, in a thread of its own.

    As TorchServe does: the first request of a batch waits for others until the batch is full or the
    delay is over. Used from one event loop.

    Args:
        answer: answers a batch.
        batching: how many requests make one, and how long the first one waits.
    """

    def __init__(self, answer: Answering, batching: Batching) -> None:
        self._answer = answer
        self._batching = batching
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue(batching.queue)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answers")
        self._work: asyncio.Task[None] | None = None

    async def ask(self, body: Any, identifier: str) -> Answer:
        """Answer one request, with others that come meanwhile.

        Args:
            body: of the request.
            identifier: for the log.

        Raises:
            QueueFullError: too many wait already.
            Exception: what the model raised on the request's batch.
        """
        if self._work is None:
            self._work = asyncio.create_task(self._answer_batches())
        waiting = Waiting(body, identifier, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull:
            raise QueueFullError from None
        return await waiting.answer

    async def _answer_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next_batch()
            bodies = [waiting.body for waiting in batch]
            identifiers = [waiting.identifier for waiting in batch]
            try:
                answers = await loop.run_in_executor(
                    self._thread, functools.partial(self._answer, bodies, identifiers)
                )
                # Of a client that went away, nobody waits any more.
                for waiting, answer in zip(batch, answers, strict=True):
                    if not waiting.answer.done():
                        waiting.answer.set_result(answer)
            except Exception as error:
                for waiting in batch:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(error)

    async def _next_batch(self) -> list[Waiting]:
        """Return the next requests: as many as there are, once there is one, up to a batch."""
        batch = [await self._queue.get()]
        deadline = asyncio.get_running_loop().time() + self._batching.delay_seconds
        while len(batch) < self._batching.size:
            if self._queue.empty():
                left = deadline - asyncio.get_running_loop().time()
                try:
                    batch.append(await asyncio.wait_for(self._queue.get(), left))
                except asyncio.TimeoutError:
                    break
            else:
                batch.append(self._queue.get_nowait())
        return batch
