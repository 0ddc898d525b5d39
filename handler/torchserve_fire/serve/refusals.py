"""What a request is refused with before or beside its model, alike over all servers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable

from ..core.answer import Answer
from ..core.answering import Refusal

logger = logging.getLogger(__name__)


class QueueFullError(Exception):
    """More requests are waiting than may."""


def refusal(status: int, kind: str, message: str) -> Answer:
    """Return the answer of a request that its model does not answer."""
    return Answer(status, Refusal(status, kind, message).body)


def refuse_other_model(
    asked: str, asked_version: str | None, name: str, version: str
) -> Answer | None:
    """Return the refusal of a request for another model or version; None where it is for this one.

    Args:
        asked: the model that the path names.
        asked_version: the version that it names, if it does.
        name: of the model that is served.
        version: of that.
    """
    if asked != name:
        return refusal(404, "ModelNotFoundException", f"Model not found: {asked}")
    if asked_version not in (None, version):
        text = f"Model version: {asked_version} does not exist for model: {asked}"
        return refusal(404, "ModelVersionNotFoundException", text)
    return None


async def answered(batch: Awaitable[Answer], name: str) -> Answer:
    """Return a request's answer; where its batch failed, the refusal that tells no more.

    What a model raises may quote other requests: it goes to the log.

    Args:
        batch: answers the request, with the others of its batch.
        name: the model's, for the log.
    """
    try:
        return await batch
    except QueueFullError:
        return refusal(503, "Overloaded", "too many requests are waiting, try again later")
    except MemoryError:
        logger.exception("torchserve-fire: no memory for a batch of %s", name)
        return refusal(507, "InternalServerException", "Out of resources")
    except Exception:
        logger.exception("torchserve-fire: a batch of %s was not answered", name)
        return refusal(503, "InternalServerException", "Prediction failed")
