"""A served model as KServe's SDK knows models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kserve import Model

from ...core.answer import Answer
from ...core.served_model import ServedModel
from ..refusals import answered
from .batcher import Batcher

REQUEST_ID = "x-request-id"
"""The header by which the SDK knows a request; ours are made here, and not the client's."""


class FireModel(Model):  # type: ignore[misc]
    """Answers by a model that was opened, and so was proved to be repaired.

    Args:
        served: the model; whoever opened it closes it.
    """

    def __init__(self, served: ServedModel) -> None:
        super().__init__(served.name)
        self.version = served.version
        self.batch_size = served.batching.size
        self._batcher = Batcher(served.answer, served.batching)
        # The server listens only after this: a model that cannot be repaired was never opened.
        self.ready = True

    async def answer(self, body: Any, request_id: str) -> Answer:
        """Answer one request's body, and have the SDK measure how long it takes.

        Args:
            body: as `ServedModel.answer` takes it.
            request_id: for the log.
        """
        answer, _ = await self(body, {REQUEST_ID: request_id})
        assert isinstance(answer, Answer)  # noqa: S101 - the SDK's types leave it open.
        return answer

    async def predict(self, payload: Any, headers: Mapping[str, str]) -> Answer:
        """Answer a body for the SDK; with the others that come meanwhile, in one forward pass."""
        return await answered(self._batcher.ask(payload, headers[REQUEST_ID]), self.name)
