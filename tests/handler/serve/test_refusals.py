"""Refusals that do not come from the model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from torchserve_fire.core.answer import Answer
from torchserve_fire.serve.refusals import QueueFullError, answered, refuse_other_model


async def _batch(outcome: Any) -> Answer:
    if isinstance(outcome, Exception):
        raise outcome
    return Answer(200, outcome)


def test_what_the_model_answers_is_handed_on() -> None:
    assert asyncio.run(answered(_batch([1, 2]), "net")) == Answer(200, [1, 2])


@pytest.mark.parametrize(
    ("error", "status"),
    [(QueueFullError(), 503), (MemoryError("secret"), 507), (ValueError("secret"), 503)],
)
def test_a_batch_that_fails_is_refused_and_its_error_is_not_told(
    error: Exception, status: int
) -> None:
    answer = asyncio.run(answered(_batch(error), "net"))
    assert answer.status == status
    assert "secret" not in str(answer.body)


@pytest.mark.parametrize(
    ("asked", "version", "says"),
    [
        ("net", None, None),
        ("net", "2.0", None),
        ("other", None, "Model not found: other"),
        ("other", "2.0", "Model not found: other"),
        ("net", "1.0", "Model version: 1.0 does not exist for model: net"),
    ],
)
def test_only_the_served_model_and_version_are_answered_for(
    asked: str, version: str | None, says: str | None
) -> None:
    refused = refuse_other_model(asked, version, "net", "2.0")
    assert (refused and (refused.status, refused.body["message"])) == (says and (404, says))
