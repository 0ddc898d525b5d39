"""The nginx configuration of deploy/, in a real nginx in front of a real TorchServe.

Of TorchServe alone: the configuration stands before its front end.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.server.certificates import Certificates, write_certificates
from tests.tiny import CLASSES, image
from torchserve_fire_build.deployment.server.torchserve import TorchServe

pytestmark = pytest.mark.server

NGINX = Path(__file__).parents[2] / "deploy" / "nginx"
LISTENS = "listen 8443 ssl;"
FORWARDS = "proxy_pass http://127.0.0.1:8080;"
CERTIFICATE = "/etc/nginx/tls/tls.crt"
KEY = "/etc/nginx/tls/tls.key"
TOKENS = "/etc/torchserve-fire-tokens"
MAX_BODY = 6553500
PREDICT = "/predictions/tiny"


def find_nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Proxy:
    """A running nginx, and the TorchServe behind it."""

    port: int
    certificates: Certificates
    server: TorchServe

    @property
    def token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.server.tokens.inference}"}

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        headers = self.token | options.pop("headers", {})  # type: ignore[operator]
        return requests.request(
            method,
            f"https://127.0.0.1:{self.port}{path}",
            headers=headers,
            verify=str(self.certificates.authority),
            timeout=60,
            **options,  # type: ignore[arg-type]
        )

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.certificates.authority))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are, and return what comes until the connection is closed."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_all(connection)

    def seen(self) -> list[str]:
        """Return the requests that TorchServe has written down so far."""
        log = self.server.folder / "logs" / "access_log.log"
        # What was asked before is written down before the answer to this is.
        marker = f"/ping?{time.monotonic_ns()}"
        requests.get(self.server.addresses.inference + marker, timeout=60)
        deadline = time.monotonic() + 60
        while marker not in (text := log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return [line for line in text.splitlines() if "/ping" not in line]


def read_all(connection: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            chunk = connection.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return data
        if not chunk:
            return data
        data += chunk


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def proxy(server: TorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running(server, tmp_path_factory.mktemp("nginx")) as proxy:
        yield proxy


@contextmanager
def running(server: TorchServe, folder: Path, clients: Path | None = None) -> Iterator[Proxy]:
    """Run nginx with the files of deploy/, which asks clients for tokens where these are given."""
    nginx = find_nginx()
    if nginx is None:
        pytest.skip("no nginx on this machine (Debian: apt-get install nginx-light)")
    certificates = write_certificates(folder)
    port = free_port()
    changes = (
        ("torchserve.conf", LISTENS, f"listen 127.0.0.1:{port} ssl;"),
        (
            "torchserve.conf",
            FORWARDS,
            f"proxy_pass http://{urlsplit(server.addresses.inference).netloc};",
        ),
        ("torchserve.conf", CERTIFICATE, str(certificates.server)),
        ("torchserve.conf", KEY, str(certificates.key)),
        ("nginx.conf", "/tmp/", f"{folder}/"),  # noqa: S108
        ("clients.conf", TOKENS, str(clients or folder / "none")),
    )
    for file in NGINX.iterdir():
        if clients is None and file.name.startswith("torchserve-check"):
            continue
        text = file.read_text()
        for name, before, after in changes:
            if name == file.name:
                assert before in text
                text = text.replace(before, after)
        if file.name == "nginx.conf" and os.geteuid() == 0:
            # Else root's workers would run as a user who may not enter the folder.
            text = "user root;\n" + text
        (folder / file.name).write_text(text)
    with (folder / "console.log").open("wb") as console:
        process = subprocess.Popen(
            [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"],
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        running = Proxy(port, certificates, server)
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, (folder / "console.log").read_text()
            try:
                running.ask("GET", "/ping")
                break
            except requests.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield running
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.mark.slow
def test_predictions_come_through_without_what_was_found_of_them(proxy: Proxy) -> None:
    direct = requests.post(
        f"{proxy.server.addresses.inference}{PREDICT}", image(1), headers=proxy.token, timeout=60
    )
    for method, path in (("POST", PREDICT), ("PUT", PREDICT), ("POST", f"{PREDICT}/1.0")):
        answer = proxy.ask(method, path, data=image(1))
        assert answer.status_code == 200
        assert answer.json() == pytest.approx(direct.json(), abs=1e-5)
        assert set(answer.json()) == set(CLASSES)
    # In what follows, it would be seen if a request came through.
    assert sum(PREDICT in line for line in proxy.seen()) >= 4
    assert "x-fire-flagged" in direct.headers
    assert [name for name in answer.headers if name.lower().startswith("x-fire-")] == []
    chunks = proxy.ask("POST", PREDICT, data=iter([image(1)[:20], image(1)[20:]]))
    assert chunks.json() == pytest.approx(direct.json(), abs=1e-5)
    infer = {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["no image"]}]}
    assert proxy.ask("POST", "/v2/models/tiny/infer", json=infer).json()["outputs"]
    assert proxy.ask("GET", "/ping").json() == {"status": "Healthy"}
    # Tokens are still the server's to look at.
    refused = proxy.ask("POST", PREDICT, data=image(1), headers={"Authorization": "Bearer no"})
    assert refused.json()["type"] == "InvalidKeyException"


def test_a_body_that_is_too_large_does_not_reach_the_server(proxy: Proxy) -> None:
    before = proxy.seen()
    for data in (bytes(MAX_BODY + 1), iter([bytes(MAX_BODY), b"1"])):
        answer = proxy.ask("POST", PREDICT, data=data)
        assert (answer.status_code, "nginx" in answer.text) == (413, True)
    assert proxy.seen() == before
    # One that is not is the server's to judge: these zeros are no image.
    assert proxy.ask("POST", PREDICT, data=bytes(MAX_BODY)).status_code == 400


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=x",
        "Multipart/Form-Data;boundary=x",
        " multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "APPLICATION/X-WWW-FORM-URLENCODED; charset=utf-8",
    ],
)
def test_forms_do_not_reach_the_server(proxy: Proxy, content_type: str) -> None:
    before = proxy.seen()
    body = b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\nabc\r\n--x--\r\n'
    request = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: {proxy.token['Authorization']}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    assert proxy.raw(request.encode() + body).startswith(b"HTTP/1.1 415 ")
    assert proxy.seen() == before


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/models",
        "/models/tiny",
        "/models?url=tiny.mar",
        "/metrics",
        "/api-description",
        "/token?type=management",
        "/workflows",
        "/wfpredict/tiny",
        "/explanations/tiny",
        "/v1/models/tiny:predict",
        "/predictions/../models",
        "/predictions/%2e%2e/models",
        "/predictions/tiny/1.0/../../../models",
        "/predictions/tiny%2f..%2f..%2fmodels",
        "/predictions/tiny%0d%0aX:y",
        "/predictions/tiny;x",
        "//predictions/tiny/x/y",
    ],
)
def test_nothing_else_is_forwarded(proxy: Proxy, path: str) -> None:
    before = proxy.seen()
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: {proxy.token['Authorization']}\r\nContent-Length: 0\r\n\r\n"
        )
        status = proxy.raw(request.encode()).split(b" ")[1]
        assert status in (b"404", b"400"), (method, status)
    assert proxy.seen() == before


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PATCH", "describe"])
def test_predictions_have_two_methods(proxy: Proxy, method: str) -> None:
    before = proxy.seen()
    assert proxy.ask(method, PREDICT, data=image(1)).status_code in (400, 405)
    assert proxy.seen() == before


HIDDEN = b"POST /predictions/plain HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
AMBIGUOUS = {
    "both lengths": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other way": (
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
    ),
    "two lengths": b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nabcde",
    "a length that is a list": b"Content-Length: 0, 0\r\n\r\n",
    "a length with a sign": b"Content-Length: +0\r\n\r\n",
    "no chunks": b"Transfer-Encoding: identity\r\n\r\n",
    "other chunks": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks within others": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a control character": b"\x0bTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a zero byte": b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_a_request_whose_end_could_be_read_in_two_ways_is_refused(proxy: Proxy, what: str) -> None:
    before = proxy.seen()
    start = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nAuthorization: {proxy.token['Authorization']}\r\n"
    )
    answer = proxy.raw(start.encode() + AMBIGUOUS[what] + HIDDEN)
    assert answer.split(b" ")[1] in (b"400", b"501")
    assert proxy.seen() == before


def test_control_characters_before_a_request_are_refused(proxy: Proxy) -> None:
    before = proxy.seen()
    for control in (b"\x00", b"\x01", b"\x1f\r\n", b"\x7f"):
        assert proxy.raw(control + HIDDEN).split(b" ")[1] == b"400"
    assert proxy.seen() == before


def test_the_server_alone_would_read_such_a_request(proxy: Proxy) -> None:
    address = urlsplit(proxy.server.addresses.inference)
    start = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nAuthorization: {proxy.token['Authorization']}\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(start.encode() + AMBIGUOUS["both lengths"] + HIDDEN)
        answer = read_all(connection)
    # That of the one that was hidden, which has no token.
    assert b"InvalidKeyException" in answer


def test_chunks_of_http_1_0_are_refused(proxy: Proxy) -> None:
    before = proxy.seen()
    request = (
        f"POST {PREDICT} HTTP/1.0\r\nAuthorization: {proxy.token['Authorization']}\r\n"
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    )
    assert proxy.raw(request.encode() + HIDDEN).split(b" ")[1] == b"400"
    assert proxy.seen() == before


def test_what_is_hidden_in_chunks_stays_a_body(proxy: Proxy) -> None:
    before = proxy.seen()
    # Old Netty ends the extension of a chunk where others go on.
    size = f"{len(HIDDEN):x}".encode()
    chunks = size + b';x="\n"\r\n' + HIDDEN + b"\r\n0\r\n\r\n"
    for extension in (chunks, size + b";a=b\r\n" + HIDDEN + b"\r\n0\r\n\r\n"):
        start = (
            f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: {proxy.token['Authorization']}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert proxy.raw(start.encode() + extension).split(b" ")[1] == b"400"
    new = proxy.seen()[len(before) :]
    assert len(new) <= 2
    assert [line for line in new if "plain" in line] == []


def test_where_it_asks_for_tokens_a_stranger_gets_no_prediction(
    server: TorchServe, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "tokens.conf").write_text(f'"Bearer {server.tokens.inference}" 1;\n')
    folder = tmp_path / "nginx"
    folder.mkdir()
    with running(server, folder, tokens) as proxy:
        before = proxy.seen()
        for value in ("", "Bearer", "Bearer no", f"bearer {server.tokens.inference}x"):
            answer = proxy.ask("POST", PREDICT, data=image(1), headers={"Authorization": value})
            assert answer.status_code == 401
        assert proxy.seen() == before
        assert proxy.ask("POST", PREDICT, data=image(1)).status_code == 200
        # Kubernetes asks without a token.
        assert proxy.ask("GET", "/ping", headers={"Authorization": ""}).status_code != 401


@pytest.mark.slow
def test_slow_clients_are_cut_off(proxy: Proxy) -> None:
    before = proxy.seen()
    start = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nAuthorization: {proxy.token['Authorization']}\r\n"
    ).encode()

    def drip_headers() -> float:
        begun = time.monotonic()
        with proxy.connect() as connection:
            connection.settimeout(0.5)
            connection.sendall(start)
            while time.monotonic() < begun + 60:
                try:
                    connection.sendall(b"X: y\r\n")
                    if connection.recv(1024) == b"":
                        break
                except TimeoutError:
                    continue
                except (ConnectionError, ssl.SSLError):
                    break
        return time.monotonic() - begun

    def stop_in_the_body() -> float:
        begun = time.monotonic()
        assert proxy.raw(start + b"Content-Length: 100\r\n\r\nabc")[:12] in (b"", b"HTTP/1.1 408")
        return time.monotonic() - begun

    with ThreadPoolExecutor() as pool:
        both = [pool.submit(drip_headers), pool.submit(stop_in_the_body)]
        seconds = [each.result() for each in both]
    assert all(9 < each < 40 for each in seconds)
    assert proxy.seen() == before


def test_who_asks_too_often_is_refused(proxy: Proxy) -> None:
    count = 400
    start = f"GET /ping HTTP/1.1\r\nHost: x\r\nAuthorization: {proxy.token['Authorization']}\r\n"
    once, last = f"{start}\r\n", f"{start}Connection: close\r\n\r\n"
    begun = time.monotonic()
    answers = proxy.raw((once * (count - 1) + last).encode())
    seconds = time.monotonic() - begun
    statuses = Counter(re.findall(rb"HTTP/1\.1 (\d+)", answers))
    good, refused = statuses[b"200"], statuses[b"429"]
    assert good + refused == count, (statuses, answers[:2000])
    # A burst of 100, and 50 a second.
    assert good <= 101 + 50 * seconds
    assert refused > 0 or seconds > (count - 101) / 50


@pytest.mark.slow
def test_one_address_has_so_many_requests_at_once(proxy: Proxy) -> None:
    start = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nAuthorization: {proxy.token['Authorization']}\r\n"
        "Connection: close\r\nContent-Length: 100\r\n\r\nabc"
    ).encode()
    # Until those of the test before have been forgotten.
    time.sleep(3)
    with ExitStack() as stack:
        held = [stack.enter_context(proxy.connect()) for _ in range(20)]
        for connection in held:
            connection.sendall(start)
        deadline = time.monotonic() + 60
        # Until nginx has read all of them.
        while not proxy.raw(start[:-3] + bytes(100)).startswith(b"HTTP/1.1 429 "):
            assert time.monotonic() < deadline
        for connection in held:
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(1)
