"""Only a browser that was given the token is answered, and only for the page itself."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.directions.backdoored import write_images
from tests.directions.review.served import Served, served_review
from torchserve_fire.errors import FireError
from torchserve_fire_build.review.plan import Plan
from torchserve_fire_build.review.serve import serve_review
from torchserve_fire_build.review.session import Review

HOSTILE = '<img src=x onerror="alert(1)">.png'
NAMES = [f"{i:03}.png" for i in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("review")
    write_images(folder / "quarantine", [0, 1, 2, 3], flat=True)
    (folder / "quarantine" / HOSTILE).write_bytes(b"no image")
    (folder / "quarantine" / "row.csv").write_text("a,b\n1,2\n")
    (folder / "quarantine" / "link.png").symlink_to("/etc/passwd")
    os.mkfifo(folder / "quarantine" / "pipe.png")
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Served]:
    with served_review(folder, "quarantine") as served:
        yield served


@pytest.mark.slow
def test_nothing_is_shown_without_the_token(page: Served) -> None:
    page.cookie = ""
    for path in ("", "review.js", "api/state", "picture/0", "?token=wrong", "?token="):
        status, headers, body = page.ask(path)
        assert status == 403
        assert b".png" not in body
        assert "set-cookie" not in headers
    assert page.ask("api/undo", b"{}")[0] == 403
    assert page.ask("", cookie="review=wrong")[0] == 403


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_page_has(page: Served) -> None:
    page.cookie = ""
    _, headers, _ = page.ask("?" + page.url.partition("?")[2])
    cookie = headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    # Cookies are sent to every port of a host, but not below other paths.
    assert f"path={page.place.lower()}" in cookie
    assert len(page.place) > len("/review-/")


def test_other_hosts_and_other_pages_are_refused(page: Served) -> None:
    page.log_in()
    assert page.ask("api/status")[0] == 200
    assert page.ask("api/status", host="evil.example:80")[0] == 403
    assert page.ask("api/status", host=page.host.replace("127.0.0.1", "evil.example"))[0] == 403
    assert page.ask("api/status", sec_fetch_site="cross-site")[0] == 403
    assert page.ask("api/status", sec_fetch_site="same-site")[0] == 403
    undo = ("api/undo", b"{}")
    assert page.ask(*undo)[0] == 200
    for origin in ("", "null", "http://evil.example", "http://127.0.0.1:1", f"https://{page.host}"):
        assert page.ask(*undo, origin=origin)[0] == 403


def test_every_answer_forbids_what_comes_from_elsewhere(page: Served) -> None:
    page.log_in()
    for path in ("", "review.css", "review.js", "api/state", "picture/1", "none"):
        status, headers, body = page.ask(path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert status == (404 if path == "none" else 200)
        # Nothing is loaded from elsewhere.
        assert b"//" not in body.replace(b"http://www.w3.org", b"") or path != ""


def test_hostile_files_are_named_and_not_shown(page: Served) -> None:
    page.log_in()
    state = json.loads(page.ask("api/state")[2])
    assert [file["name"] for file in state["files"]] == [*NAMES, HOSTILE, "row.csv"]
    assert state["passed_over"] == "passed over, and not opened: 1 link, 1 pipe"
    assert state["files"][5]["text"] == "a,b 1,2"
    status, headers, body = page.ask("picture/0")
    assert (status, headers["content-type"], body[:4]) == (200, "image/png", b"\x89PNG")
    for number in (4, 5, 6, 99999999999999999999):
        assert page.ask(f"picture/{number}")[0] == 404
    assert page.ask("picture/../../etc/passwd")[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"text", b"{}", b"[" * 10**5),
        *(b'{"files": 1, "decision": "keep"}', b'{"files": [0], "decision": 1}'),
        b'{"files": [true], "decision": "keep"}',
    ],
)
def test_what_is_no_decision_is_refused(page: Served, body: bytes) -> None:
    page.log_in()
    assert page.ask("api/decide", body)[0] == 400


@pytest.mark.parametrize("numbers", ["[6]", "[-1]", "[0, 99]"])
def test_numbers_of_no_file_are_refused(page: Served, numbers: str) -> None:
    page.log_in()
    status, _, body = page.ask(
        "api/decide", b'{"files": %b, "decision": "keep"}' % numbers.encode()
    )
    assert status == 409
    assert "expected numbers of files" in json.loads(body)["problem"]


@pytest.mark.slow
def test_a_decision_is_kept_when_the_page_is_killed_and_nothing_is_deleted(tmp_path: Path) -> None:
    write_images(tmp_path / "quarantine", [0, 1, 2], flat=True)
    before = sorted((tmp_path / "quarantine").iterdir())
    with served_review(tmp_path, "quarantine", kill=True) as page:
        page.log_in()
        page.ask("api/decide", b'{"files": [0, 2], "decision": "drop"}')
    with served_review(tmp_path, "quarantine") as page:
        page.log_in()
        status = json.loads(page.ask("api/status")[2])
        assert status["counts"] == {"keep": 0, "drop": 2, "open": 1}
        answer = json.loads(page.ask("api/undo", b"{}")[2])
        assert answer["changed"] == [[0, "open"], [2, "open"]]
    assert sorted((tmp_path / "quarantine").iterdir()) == before


def test_steps_that_lack_something_say_what(page: Served) -> None:
    page.log_in()
    for step, reason in (("refine", "--archive"), ("deploy", "--management")):
        status, _, body = page.ask(f"api/{step}", b"{}")
        assert status == 409
        assert reason in json.loads(body)["problem"]


@pytest.mark.parametrize(("port", "reason"), [(99999, "at most 65535"), (1, "--port 1: ")])
def test_a_port_that_cannot_be_had_is_refused(
    port: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: socket.socket, address: tuple[str, int]) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    write_images(tmp_path / "quarantine", [0], flat=True)
    if port == 1:
        monkeypatch.setattr(socket.socket, "bind", refused)
    review = Review(Plan("m", tmp_path / "quarantine", tmp_path / "out", ()))
    with pytest.raises(FireError, match=reason):
        serve_review(review, port, print)
    review.close()
