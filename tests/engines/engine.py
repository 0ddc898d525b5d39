"""What the shared tests need of a server, whichever engine it is."""

from __future__ import annotations

import re
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from .inference_grpc import Inferred, Place, infer

PATIENCE_SECONDS = 120
SAMPLE = re.compile(r"^(\w+)\{(.*)\} ([\d.eE+-]+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Sent:
    """What is sent to a model.

    Attributes:
        content: the body's bytes.
        content_type: empty: no such header.
    """

    content: bytes
    content_type: str = ""


@dataclass(frozen=True)
class Received:
    """What a server sent back.

    Attributes:
        status: HTTP status code.
        body: the decoded JSON.
        headers: those whose names begin with `x-fire-`.
    """

    status: int
    body: Any
    headers: Mapping[str, str]


class Engine(ABC):
    """A server of one archive, on a free port of loopback.

    Args:
        folder: where it may write; the archive's `bundle_folder` is `folder / "bundles"`.

    Attributes:
        model: the model's name.
        base: the server's address, once it was started.
        headers: what a client must send besides.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = ""
        self.base = ""
        self.headers: dict[str, str] = {}

    @abstractmethod
    def start(self, archive: Path, model: str) -> None:
        """Start it, and wait until it is ready."""

    @abstractmethod
    def stop(self) -> None:
        """End it with all its processes."""

    @abstractmethod
    def refuses(self, archive: Path, model: str) -> str:
        """Start it with what it must refuse, and return all that it says."""

    def start_again(self) -> None:
        """Do what a supervisor does after its processes were killed, where it does not do that."""
        return

    @property
    @abstractmethod
    def workers(self) -> list[int]:
        """The processes that answer."""

    @property
    @abstractmethod
    def place(self) -> Place:
        """Where it speaks the Open Inference Protocol over gRPC."""

    @abstractmethod
    def metrics(self) -> str:
        """Return what Prometheus reads."""

    @abstractmethod
    def logs(self) -> Sequence[Path]:
        """Return all files that it has written a log to."""

    def metric_called(self, name: str) -> str:
        """Return the name that Prometheus gives a metric, of the one that it reads."""
        return name.removesuffix("_total")

    @property
    def predict_path(self) -> str:
        """Where bodies of any kind go."""
        return f"/v1/models/{self.model}:predict"

    @property
    def infer_path(self) -> str:
        """Where requests of the Open Inference Protocol go."""
        return f"/v2/models/{self.model}/infer"

    def swap(self, bundle: Path) -> None:
        """Let another bundle serve; it is looked for when the next request comes."""
        bundles = self.folder / "bundles"
        # Nobody sees a file that is half there.
        hidden = bundles / f".{bundle.name}"
        shutil.copyfile(bundle, hidden)
        hidden.rename(bundles / bundle.name)

    def ask(
        self,
        sent: Sent,
        path: str = "",
        session: Any = requests,
        more: Mapping[str, str] | None = None,
    ) -> Received:
        """Send a request to a path, that of predictions unless another is named.

        Args:
            sent: the request.
            path: where it goes.
            session: sends it.
            more: headers, besides those that a client must send.
        """
        headers = {**self.headers, **(more or {})}
        # The library would make a content type of its own up for some bodies.
        headers["Content-Type"] = sent.content_type or None
        answer = session.post(
            f"{self.base}{path or self.predict_path}",
            data=sent.content,
            headers=headers,
            timeout=120,
        )
        told = {k.lower(): v for k, v in answer.headers.items() if k.lower().startswith("x-fire-")}
        return Received(answer.status_code, answer.json() if answer.content else None, told)

    def client(self) -> Callable[[bytes], Received]:
        """Return what sends bodies over a connection of its own."""
        session = requests.Session()
        return lambda content: self.ask(Sent(content), session=session)

    def infer(self, *inputs: Any, **fields: Any) -> Inferred:
        """Ask for a prediction by the Open Inference Protocol over gRPC."""
        return infer(self.place, fields.pop("model_name", self.model), inputs, **fields)

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Return this model's metrics: name, labels, value."""
        for name, labels, value in SAMPLE.findall(self.metrics()):
            found = dict(LABEL.findall(labels))
            if found.get("ModelName") == self.model:
                yield self.metric_called(name), found, float(value)

    def count(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all that has these labels."""
        return sum(
            value
            for each, found, value in self.samples()
            if each == name and labels.items() <= found.items()
        )


def wait_until(is_so: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that comes a while after what causes it."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.2)
