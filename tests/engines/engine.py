"""What the shared tests need of a server, whichever engine it is."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests


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

    @property
    @abstractmethod
    def workers(self) -> list[int]:
        """The processes that answer."""

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

    def ask(self, sent: Sent, path: str = "", session: Any = requests) -> Received:
        """Send a request to a path, that of predictions unless another is named."""
        headers = dict(self.headers)
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
