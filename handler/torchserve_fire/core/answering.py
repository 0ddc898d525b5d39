"""What a request's answer becomes, by the worker's mode and by what was found in its batch.

Nothing here knows which server the answers go to.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..format.bundle import Bundle
from ..model.config import HandlerConfig
from ..repair.verdict import Verdict

logger = logging.getLogger(__name__)

Flags = list[bool | None]
"""Of each request whether it was flagged; None of one that was not predicted."""


@dataclass(frozen=True)
class Refusal:
    """What a request gets in the place of its answer.

    Attributes:
        status: HTTP status code.
        kind: the error's name.
        message: for the client, on one line.
        reason: why an input is bad, in a word or two, the same for all such inputs: they are
            counted by it.
    """

    status: int
    kind: str
    message: str
    reason: str = "other"

    @property
    def body(self) -> dict[str, Any]:
        """The body of the answer, which says the same where a status is lost on the way."""
        return {"code": self.status, "type": self.kind, "message": self.message}


@dataclass(frozen=True)
class Outcome:
    """What becomes of one request's answer.

    Attributes:
        flag: whether the request was flagged; None where that is not known.
        headers: to be sent with the answer.
        refusal: what is sent in its place, if anything.
    """

    flag: bool | None
    headers: Mapping[str, str] = field(default_factory=dict)
    refusal: Refusal | None = None


UNREPAIRED = Refusal(
    500,
    "RepairError",
    "it is not known whether the answer went through the corrections: the handler must answer a "
    "batch with one forward pass of self.model, one sample per request",
)
FLAGGED = Refusal(422, "FlaggedInput", "the input was judged to hold a trigger")


def flags_of(size: int, positions: Sequence[int], verdict: Verdict | None) -> Flags | None:
    """Return which requests of a batch were flagged.

    Args:
        size: number of requests.
        positions: the requests that the samples of the forward pass stand for, in their order.
        verdict: on these samples; None where there is none, as after several passes.

    Returns:
        None where it is not known: the samples are not the requests.
    """
    if not positions:
        return [None] * size
    if verdict is None:
        return None
    flagged = verdict.flagged.tolist()
    if len(flagged) != len(positions):
        return None
    flags: Flags = [None] * size
    for position, flag in zip(positions, flagged, strict=True):
        flags[position] = flag
    return flags


class Answering:
    """Decides what becomes of answers.

    Args:
        config: the settings.
        bundle: what requests are judged by; None in mode `off`.
    """

    def __init__(self, config: HandlerConfig, bundle: Bundle | None) -> None:
        self._mode = config.mode
        self._in_body = config.flag_in_body
        self._digest = bundle.digest if bundle else None
        self._warned = False

    def outcome(self, flag: bool | None, passes: int) -> Outcome:
        """Return what becomes of one request's answer.

        Args:
            flag: whether the request was flagged; None where that is not known.
            passes: forward passes that its batch took.
        """
        if self._digest is None:
            return Outcome(None)
        headers = {"x-fire-bundle": self._digest}
        if flag is None:
            if self._mode == "reject" or (self._mode == "repair" and not passes):
                return Outcome(None, headers, UNREPAIRED)
            self._warn()
            return Outcome(None, headers)
        headers["x-fire-flagged"] = str(flag).lower()
        headers["x-fire-repaired"] = str(self._repairs(flag)).lower()
        return Outcome(flag, headers, FLAGGED if flag and self._mode == "reject" else None)

    def with_verdict(self, answer: Any, flag: bool | None) -> Any:
        """Return an answer with the verdict beside it, where the configuration asks for that."""
        if not self._in_body or isinstance(answer, (bytes, bytearray)):
            return answer
        repaired = None if flag is None else self._repairs(flag)
        verdict = {"flagged": flag, "repaired": repaired, "bundle": self._digest}
        return {"predictions": answer, "fire": verdict}

    def _repairs(self, flag: bool) -> bool:
        return flag and self._mode == "repair"

    def _warn(self) -> None:
        if not self._warned:
            logger.warning(
                "torchserve-fire: a batch was not answered with one forward pass and one "
                "sample per request: no flags are given"
            )
            self._warned = True
