import json
import logging

from torchserve_fire.watch import flagged_log
from torchserve_fire.watch.flagged_log import PER_MINUTE, FlaggedLog


def lines(caplog):
    return [json.loads(record.message.split(": ", 1)[1]) for record in caplog.records]


def test_a_line_is_json_and_says_which_request(caplog):
    with caplog.at_level(logging.WARNING):
        FlaggedLog("m", "1.0", "abc", "repair").write("request-1", 0.51234)
    assert lines(caplog) == [
        {
            "event": "flagged",
            "model": "m",
            "version": "1.0",
            "bundle": "abc",
            "mode": "repair",
            "request": "request-1",
            "score": 0.512,
            "left_out": 0,
        }
    ]


def test_no_more_than_some_lines_a_minute_and_how_many_were_left_out(caplog, monkeypatch):
    now = [600.0]
    monkeypatch.setattr(flagged_log.time, "monotonic", lambda: now[0])
    log = FlaggedLog("m", "1.0", "abc", "repair")
    with caplog.at_level(logging.WARNING):
        for i in range(PER_MINUTE + 5):
            log.write(str(i), None)
        now[0] += 60
        log.write("later", None)
    written = lines(caplog)
    assert [line["request"] for line in written] == [*map(str, range(PER_MINUTE)), "later"]
    assert [line["left_out"] for line in written] == [0] * PER_MINUTE + [5]
