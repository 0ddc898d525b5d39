"""What every engine writes to its logs about requests, and what it must not."""

from __future__ import annotations

import uuid

import requests

from .conftest import Started
from .engine import wait_until
from .marked_requests import encoded, lines_with, marked_image, marked_requests


def test_no_log_holds_what_was_sent(started: Started) -> None:
    engine = started.engine
    mark = f"mark{uuid.uuid4().hex}"

    def post(headers: dict[str, str], **content: object) -> int:
        answer = requests.post(
            f"{engine.base}{engine.predict_path}",
            headers={**engine.headers, **headers},
            timeout=60,
            **content,  # type: ignore[arg-type]
        )
        return answer.status_code

    assert post({}, data=marked_image(mark)) == 200
    for headers, content in marked_requests(mark):
        post(headers, **content)
    inputs = {"name": mark, "shape": [1], "datatype": "BYTES"}
    engine.infer(inputs | {"contents": {"bytes_contents": [mark.encode()]}})
    engine.infer(inputs | {"datatype": mark}, id=mark)
    engine.infer(inputs, model_version=mark)
    before = len(lines_with(engine.logs(), "torchserve-fire"))

    def told() -> bool:
        """Whether there is a line about a flagged request, after those about the others."""
        # Of many lines in a minute, as other tests may have caused them, some are left out.
        post({}, data=marked_image(mark))
        return len(lines_with(engine.logs(), "torchserve-fire")) > before

    wait_until(told)
    assert lines_with(engine.logs(), mark) == []
    assert lines_with(engine.logs(), encoded(mark)[:40]) == []
    token = engine.headers.get("Authorization", "").removeprefix("Bearer ")
    assert not token or lines_with(engine.logs(), token) == []
