"""What a replica answers over each path, whatever answers behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from torchserve_fire.core.answer import Answer
from torchserve_fire.serve.body_limit import MAX_BODY_BYTES
from torchserve_fire.serve.ray_serve.http_app import http_app


class Echo:
    """Answers with what it was asked; raises what it is given."""

    served_as = ("net", "2.0")
    error: Exception | None = None

    async def ask(self, body: Any, request_id: str) -> Answer:
        if self.error is not None:
            raise self.error
        shown = body.decode() if isinstance(body, bytes) else body
        return Answer(200, {"asked": shown, "id": request_id}, {"x-fire-flagged": "false"})


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def client(echo: Echo) -> TestClient:
    return TestClient(http_app(lambda: echo))


@pytest.mark.parametrize(
    "path",
    [
        "/predictions/net",
        "/predictions/net/2.0",
        "/v1/models/net:predict",
        "/v2/models/net/infer",
        "/v2/models/net/versions/2.0/infer",
    ],
)
def test_paths_that_predict(client: TestClient, path: str) -> None:
    # curl -T sends PUT.
    for method in ("POST", "PUT"):
        answer = client.request(method, path, content=b"abc", headers={"x-request-id": "7"})
        assert (answer.status_code, answer.json()) == (200, {"asked": "abc", "id": "7"})
        assert answer.headers["x-fire-flagged"] == "false"
        assert answer.headers["content-type"] == "application/json"
    assert client.post(path, json=[1, 2]).json()["asked"] == [1, 2]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("POST", "/predictions/other", 404, "ModelNotFoundException"),
        ("POST", "/predictions/net/1.0", 404, "ModelVersionNotFoundException"),
        ("POST", "/v2/models/other/infer", 404, "ModelNotFoundException"),
        ("GET", "/v2/models/other/ready", 404, "ModelNotFoundException"),
        ("GET", "/predictions/net", 405, "MethodNotAllowedException"),
        ("POST", "/explanations/net", 404, "ResourceNotFoundException"),
        ("GET", "/", 404, "ResourceNotFoundException"),
    ],
)
def test_what_is_not_there(
    client: TestClient, method: str, path: str, status: int, kind: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert (answer.json()["code"], answer.json()["type"]) == (status, kind)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(client: TestClient, chunked: bool) -> None:
    body = b"x" * (MAX_BODY_BYTES + 1)
    answer = client.post("/predictions/net", content=iter([body]) if chunked else body)
    assert (answer.status_code, answer.json()["type"]) == (413, "InputError")
    assert client.post("/predictions/net", content=body[1:]).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RuntimeError("of a secret"), 503, "Prediction failed"),
        (MemoryError("of a secret"), 507, "Out of resources"),
    ],
)
def test_what_the_model_raises_is_not_told(
    client: TestClient, echo: Echo, error: Exception, status: int, message: str
) -> None:
    echo.error = error
    answer = client.post("/predictions/net", content=b"abc")
    kind = "InternalServerException"
    assert json.loads(answer.text) == {"code": status, "type": kind, "message": message}
    assert answer.status_code == status


def test_readiness(client: TestClient) -> None:
    assert client.get("/ping").json() == {"status": "Healthy"}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/net/ready", "/v2/models/net/versions/2.0/ready"):
        assert client.get(path).json() == {"name": "net", "ready": True}
