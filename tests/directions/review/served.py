"""A review that is served to the tests as to a browser."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class Served:
    """Where a page is.

    Attributes:
        url: with the token, as it was printed.
        cookie: that the page was given.
        printed: all lines that the command printed.
    """

    url: str
    printed: list[str]
    cookie: str = field(default="", repr=False)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def place(self) -> str:
        return urlsplit(self.url).path

    def ask(
        self, path: str = "", body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request as the page would; `headers` take the place of what it would send."""
        sent = {"host": self.host, "cookie": self.cookie}
        if body is not None:
            sent["origin"] = f"http://{self.host}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.putrequest("GET" if body is None else "POST", self.place + path, True, True)
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def log_in(self) -> None:
        status, headers, _ = self.ask("?" + urlsplit(self.url).query)
        assert (status, headers["location"]) == (303, self.place)
        self.cookie = headers["set-cookie"].partition(";")[0]


@contextmanager
def served_review(folder: Path, *words: object, kill: bool = False) -> Iterator[Served]:
    """Run the command in a folder; it must end by SIGTERM, where it is not to be killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "torchserve_fire_build.commands.main", "review", *map(str, words)],
        cwd=folder,
        # The modules that are tested, whatever is installed.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line.rstrip())
            if line.startswith("http://"):
                break
        assert "".join(printed[-1:]).startswith("http://127.0.0.1:"), printed
        yield Served(printed[-1], printed)
        if not kill:
            # As Ctrl-C does; SIGINT itself is ignored where the tests run in the background.
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 130
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
