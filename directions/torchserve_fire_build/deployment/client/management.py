"""A client of TorchServe's REST management API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from torchserve_fire.errors import first_line

from .http_session import ANSWER_SECONDS, CONNECT_SECONDS, open_session
from .server_errors import (
    INVALID_KEY,
    OTHER_PORTS,
    TOKEN_REFUSED,
    ModelApiOffError,
    ServerError,
    TokenError,
)
from .tokens import Token, current

STARTUP_SECONDS = 600
"""For an archive whose own configuration says how long it may take to load."""

NOT_SERVED = "; torchserve-fire status shows what is served"


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of a model, as TorchServe describes it.

    Attributes:
        name: the model's name.
        version: the version.
        archive: file name of its archive in the model store.
        min_workers: how many workers it should have.
        max_workers: how many it may have.
        batch_size: requests that are answered together at most.
        max_batch_delay: milliseconds that a batch waits for more requests.
        response_timeout: seconds after which a worker that does not answer is restarted.
        startup_timeout: seconds that a worker may take to load.
        pending: requests waiting in its queue.
        workers: process id of each worker to whether it has loaded the model.
        customized: what the handler's `describe_handle` said, where it was asked.
    """

    name: str
    version: str
    archive: str
    min_workers: int
    max_workers: int
    batch_size: int
    max_batch_delay: int
    response_timeout: int
    startup_timeout: int
    pending: int
    workers: Mapping[int, bool]
    customized: Any = None

    @property
    def ready(self) -> bool:
        """Whether every worker has loaded the model."""
        return len(self.workers) >= self.min_workers and all(self.workers.values())


class Management:
    """The management API of one server.

    Args:
        url: its address.
        token: the management token.
        ca: certificates of the authorities to trust, as of `open_session`.
        pinned: the only certificate to take, as of `open_session`.

    Raises:
        FireError: `ca` is no such file.
    """

    def __init__(
        self, url: str, token: Token, ca: Path | None = None, *, pinned: str | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._session = open_session(None, ca, pinned=pinned)

    def models(self) -> list[str]:
        """Return the names of the registered models."""
        names: list[str] = []
        page: str | None = "0"
        while page is not None:
            answer = self._request("GET", "/models", {"limit": 100, "next_page_token": page})
            names += [str(model["modelName"]) for model in answer.get("models", [])]
            page = answer.get("nextPageToken")
        return names

    def describe(
        self,
        name: str,
        version: str | None = None,
        *,
        customized: bool = False,
        timeout: float = ANSWER_SECONDS,
    ) -> ModelVersion:
        """Describe one version of a model, the default one where None.

        With `customized`, one of its workers says what its handler's `describe_handle` returns;
        the question waits in the queue behind the requests that came before it.
        """
        parameters = {"customized": "true"} if customized else {}
        return _parse(self._request("GET", _path(name, version), parameters, timeout)[0])

    def describe_all(self, name: str) -> list[ModelVersion]:
        """Describe every registered version of a model."""
        return [_parse(entry) for entry in self._request("GET", _path(name, "all"))]

    def answers_in_turn(self, name: str, version: str, timeout: float) -> Any:
        """Ask a version to describe itself, and wait until one of its workers has answered.

        The question waits in the queue behind the requests that came before it.

        Returns:
            What the handler's `describe_handle` returned; None where it returns nothing, or failed.

        Raises:
            ServerError: no worker took the question.
        """
        try:
            return self.describe(name, version, customized=True, timeout=timeout).customized
        except ServerError as error:
            # What TorchServe says for a worker; for itself it has other names.
            if error.kind != "InternalServerException":
                raise
            return None

    def check_model_api(self) -> None:
        """Refuse a server on which nothing can be registered, by a question that changes nothing.

        Raises:
            ModelApiOffError: its model API is off, as it is by default.
            ServerError: it cannot be reached.
        """
        try:
            self._request("POST", "/models")
        except ServerError as error:
            if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
                raise ModelApiOffError(
                    f"{self._url}: its model API is off, so nothing can be registered",
                    error.status,
                    error.kind,
                ) from None
            # It lacks the archive's name.
            if error.status != HTTPStatus.BAD_REQUEST:
                raise

    def register(
        self,
        archive: str,
        name: str,
        *,
        workers: int = 1,
        batch_size: int | None = None,
        max_batch_delay: int | None = None,
        response_timeout: int | None = None,
        startup_timeout: int | None = None,
    ) -> None:
        """Register an archive of the model store, and wait until its workers have loaded it.

        What is None is as the archive's own configuration says, else TorchServe's default.
        """
        parameters = {
            "url": archive,
            "model_name": name,
            "initial_workers": workers,
            "synchronous": "true",
            "batch_size": batch_size,
            "max_batch_delay": max_batch_delay,
            "response_timeout": response_timeout,
            "startup_timeout": startup_timeout,
        }
        # Every worker may take its whole time to load.
        timeout = (startup_timeout or STARTUP_SECONDS) + 60
        self._request("POST", "/models", parameters, timeout=timeout)

    def scale(self, name: str, version: str, minimum: int, maximum: int, timeout: float) -> None:
        """Give a version another number of workers, and wait until they have loaded it."""
        parameters = {"min_worker": minimum, "max_worker": maximum, "synchronous": "true"}
        self._request("PUT", _path(name, version), parameters, timeout=timeout)

    def set_default(self, name: str, version: str) -> None:
        """Make a version the one that requests without a version get."""
        self._request("PUT", f"{_path(name, version)}/set-default")

    def unregister(self, name: str, version: str) -> None:
        """Take a version away; requests that wait in its queue are lost."""
        self._request("DELETE", _path(name, version), timeout=180)

    def _request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Any:
        where = f"{method} {self._url}{path}"
        token = current(self._token)
        try:
            answer = self._session.request(
                method,
                f"{self._url}{path}",
                params=parameters,
                headers={"Authorization": f"Bearer {token.strip()}"} if token else {},
                timeout=(min(CONNECT_SECONDS, timeout), timeout),
            )
        except requests.RequestException as error:
            raise ServerError(f"{where}: no answer from TorchServe ({_reason(error)})") from None
        try:
            body = answer.json()
        except ValueError:
            body = {}
        if answer.status_code >= 400:
            said = body if isinstance(body, dict) else {}
            if said.get("type") == INVALID_KEY:
                raise TokenError(f"{where}: {TOKEN_REFUSED}", answer.status_code)
            message = said.get("message") or " ".join(answer.text[:200].split()) or answer.reason
            unknown = answer.status_code == HTTPStatus.NOT_FOUND and path.startswith("/models/")
            raise ServerError(
                f"{where}: TorchServe refused with status {answer.status_code}: {message}"
                + (NOT_SERVED if unknown else ""),
                answer.status_code,
                str(said.get("type", "")),
            )
        return body


def _path(name: str, version: str | None) -> str:
    path = f"/models/{quote(name, safe='')}"
    return path if version is None else f"{path}/{quote(version, safe='')}"


def _parse(entry: Mapping[str, Any]) -> ModelVersion:
    queue = entry.get("jobQueueStatus") or {}
    return ModelVersion(
        name=str(entry["modelName"]),
        version=str(entry["modelVersion"]),
        archive=str(entry["modelUrl"]),
        min_workers=int(entry["minWorkers"]),
        max_workers=int(entry["maxWorkers"]),
        batch_size=int(entry["batchSize"]),
        max_batch_delay=int(entry["maxBatchDelay"]),
        response_timeout=int(entry["responseTimeout"]),
        startup_timeout=int(entry["startupTimeout"]),
        pending=int(queue.get("pendingRequests", 0)),
        workers={
            int(worker["pid"]): worker.get("status") == "READY" for worker in entry["workers"]
        },
        customized=entry.get("customizedMetadata"),
    )


def _reason(error: Exception) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "the server's certificate is not signed by a trusted authority: give --ca"
    if "WRONG_VERSION_NUMBER" in str(error):
        return "the server speaks no TLS there: give the address with http://"
    if isinstance(error, requests.ConnectionError) and "refused" in str(error):
        return (
            "connection refused: is the server running? --management names another address; "
            f"{OTHER_PORTS}"
        )
    return first_line(error)
