"""A long step in a process of its own: its progress is read, and it can be cancelled."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LINES = 200
"""Of its output that are kept."""

COLUMNS = 100
GRACE_SECONDS = 120.0
"""For what a cancelled step puts right, such as a swap that takes its version back."""

PERCENT = re.compile(r"^(.*?):?\s+(\d{1,3})%\|")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")

RUNNING, DONE, FAILED, CANCELLED = "running", "done", "failed", "cancelled"


@dataclass(frozen=True)
class StepStatus:
    """How far a step is.

    Attributes:
        name: of the step.
        state: `RUNNING`, `DONE`, `FAILED` or `CANCELLED`.
        lines: what it printed last.
        doing: what it is at.
        percent: how much of that is done; None where that is unknown.
        seconds: since its start; all of them where it has ended.
    """

    name: str
    state: str
    lines: Sequence[str]
    doing: str
    percent: int | None
    seconds: float


class Step:
    """A command that runs in a terminal that nobody sees, so that it draws its bars.

    Args:
        name: of the step.
        words: the command.
        ended: called with its exit status, in a thread, before it counts as ended.
    """

    def __init__(self, name: str, words: Sequence[str], ended: Callable[[int], None]) -> None:
        self.name = name
        self._ended = ended
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=LINES)
        self._doing = ""
        self._percent: int | None = None
        self._state, self._cancelled = RUNNING, False
        self._started = self._until = time.monotonic()
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a command of this project.
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def status(self) -> StepStatus:
        """Return how far it is."""
        with self._lock:
            until = time.monotonic() if self._state == RUNNING else self._until
            return StepStatus(
                self.name,
                self._state,
                list(self._lines),
                self._doing,
                self._percent,
                until - self._started,
            )

    def cancel(self) -> None:
        """Ask it to end, as Ctrl-C does; it puts right what it has begun."""
        with self._lock:
            if self._state != RUNNING or self._cancelled:
                return
            self._cancelled = True
            self._doing, self._percent = "cancelling", None
            # It ends its own children. A shell's background job ignores SIGINT, and so would they.
            self._process.send_signal(signal.SIGTERM)
        threading.Thread(target=self._kill_later, daemon=True).start()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._reader.join()

    def _kill_later(self) -> None:
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self, terminal: int) -> None:
        rest = b""
        while True:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # Nobody has the other end open any more.
                data = b""
            if not data:
                break
            *whole, rest = re.split(rb"[\r\n]", rest + data)
            for part in (*whole, rest):
                self._take(part, whole=part is not rest)
        os.close(terminal)
        status = self._process.wait()
        self._ended(status)
        with self._lock:
            self._until = time.monotonic()
            self._doing, self._percent = "", None
            stopped = self._cancelled and status != 0
            self._state = CANCELLED if stopped else DONE if status == 0 else FAILED

    def _take(self, part: bytes, *, whole: bool) -> None:
        text = CONTROL.sub("", part.decode("utf-8", "replace")).rstrip()
        if not text:
            return
        bar = PERCENT.match(text)
        with self._lock:
            if bar is not None:
                if not self._cancelled:
                    self._doing, self._percent = bar[1].strip(), int(bar[2])
            elif whole:
                self._lines.append(text)
                if not self._cancelled:
                    self._doing, self._percent = text, None
