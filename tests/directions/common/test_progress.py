import io
import logging
import sys

import pytest

from torchserve_fire_build.commands.messages import show_messages
from torchserve_fire_build.common.progress import Progress


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def lines_of(caplog, total, steps, *, seconds):
    """The lines of some steps of as many seconds each."""
    caplog.clear()
    clock = Clock()
    with caplog.at_level(logging.INFO), Progress("choosing layers", total, clock=clock) as progress:
        for step in steps:
            clock.now += seconds
            progress.advance(step)
    return caplog.messages


def test_a_line_every_half_minute_with_the_time_left(caplog):
    assert lines_of(caplog, 12, [1] * 9, seconds=10) == [
        "choosing layers: 3 of 12, about 90 s left",
        "choosing layers: 6 of 12, about 60 s left",
        "choosing layers: 9 of 12, about 30 s left",
    ]


def test_nothing_of_what_takes_less(caplog):
    assert lines_of(caplog, 3, [1] * 3, seconds=9.9) == []


@pytest.mark.parametrize(
    ("total", "left"), [(2, "about 50 s left"), (60, "about 49 min left"), (601, "8 h 20 min left")]
)
def test_the_time_left_as_people_say_it(caplog, total, left):
    (line,) = lines_of(caplog, total, [1], seconds=50)
    assert line.endswith(left)


def test_nothing_done_yet_says_nothing(caplog):
    assert lines_of(caplog, 2, [0], seconds=50) == []


def test_more_than_was_expected_leaves_nothing(caplog):
    assert lines_of(caplog, 2, [3], seconds=50) == ["choosing layers: 3 of 2, less than 1 s left"]


def test_a_terminal_has_a_bar_and_no_lines(caplog, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert lines_of(caplog, 12, [1] * 9, seconds=10) == []


def test_a_command_says_it_on_standard_error(capsys):
    # What a command prints may be read by a program.
    clock = Clock()
    with show_messages("build"), Progress("predicting", 4, clock=clock) as progress:
        clock.now += 60
        progress.advance(2)
    assert capsys.readouterr() == ("", "predicting: 2 of 4, about 60 s left\n")
