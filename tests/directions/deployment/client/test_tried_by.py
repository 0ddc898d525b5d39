from __future__ import annotations

import pytest

from torchserve_fire_build.deployment.archive.load_as_worker import Answer, Body
from torchserve_fire_build.deployment.client.tried_by import without_flagged


def asked(flags: list[str | None]) -> tuple[list[Body], list[Answer]]:
    bodies = [Body(str(i).encode(), "text/plain") for i in range(len(flags))]
    headers = [{} if flag is None else {"x-fire-flagged": flag} for flag in flags]
    return bodies, [Answer(200, each, i) for i, each in enumerate(headers)]


@pytest.mark.parametrize(
    ("flags", "left", "told"),
    [
        (["false", "true", "false"], [0, 2], 0),
        # Another handler says nothing of flags.
        ([None, None], [0, 1], 0),
        (["true", "true"], [0, 1], 1),
        ([], [], 0),
    ],
)
def test_what_is_flagged_is_not_asked_where_there_is_something_else(
    flags: list[str | None], left: list[int], told: int
) -> None:
    lines: list[str] = []
    bodies, answers = without_flagged(*asked(flags), lines.append)
    assert [int(body.content) for body in bodies] == left
    assert [answer.body for answer in answers] == left
    assert len(lines) == told
