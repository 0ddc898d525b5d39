"""From a plain archive in production to a repaired one: a real TorchServe, under load."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from torchserve_fire.core.unpack import unpack
from torchserve_fire.errors import FireError
from torchserve_fire_build.deployment.archive.load_as_worker import Body, decoded, load_as_worker
from torchserve_fire_build.deployment.client.check_answers import same_answer
from torchserve_fire_build.deployment.client.http_session import open_session
from torchserve_fire_build.deployment.server.torchserve import TorchServe

from ..load.steady import steady_traffic, wait_for
from .case import MODEL, Case, write_samples

REPAIRED = f"{MODEL}-2.0.mar"
SENT_PAIRS = 32
"""Test samples that the load sends, each clean and triggered."""
UNSEEN = 100
"""Test samples that `evaluate` is given."""
PAUSE_SECONDS = 0.1
"""Of a client between its requests, so that the commands have processors left to work with."""
LAST = 200
"""Requests to answer once the repaired archive is deployed."""
TIMEOUT_SECONDS = 120.0
# Tokens that outlive any run; as many workers as a small machine has room for.
SETTINGS = {"token_expiration_min": "1440", "default_workers_per_model": "1"}


@dataclass(frozen=True)
class Answered:
    """How one request was answered.

    Attributes:
        number: of its body.
        began: when it was sent, as `time.monotonic` has it.
        ended: when its answer was there.
        status: HTTP status code, 0 where no answer came.
        body: the decoded answer.
        repaired: whether a bundle was at work.
    """

    number: int
    began: float
    ended: float
    status: int
    body: Any
    repaired: bool


def send(session: requests.Session, url: str, number: int, body: Body) -> Answered:
    """Send a body and wait for the answer."""
    began = time.monotonic()
    try:
        answer = session.post(
            url,
            data=body.content,
            headers={"Content-Type": body.content_type},
            timeout=TIMEOUT_SECONDS,
        )
    except requests.RequestException:
        return Answered(number, began, time.monotonic(), 0, None, repaired=False)
    repaired = "x-fire-bundle" in answer.headers
    ended = time.monotonic()
    return Answered(number, began, ended, answer.status_code, decoded(answer.content), repaired)


def ask_all(server: TorchServe, bodies: Sequence[Body], clients: int) -> list[Any]:
    """Return what the server answers to each body.

    Raises:
        FireError: a request failed.
    """
    url = f"{server.addresses.inference}/predictions/{MODEL}"
    sessions = [open_session(server.tokens.inference) for _ in range(clients)]

    def work(first: int) -> list[Answered]:
        numbers = range(first, len(bodies), clients)
        return [send(sessions[first], url, number, bodies[number]) for number in numbers]

    with ThreadPoolExecutor(clients) as pool:
        answered = sorted(
            (each for part in pool.map(work, range(clients)) for each in part),
            key=lambda each: each.number,
        )
    for each in answered:
        if each.status != 200:
            raise FireError(f"{url}: status {each.status}, expected 200: {str(each.body)[:200]}")
    return [each.body for each in answered]


@dataclass(frozen=True)
class Command:
    """A command of this project, as it was run.

    Attributes:
        line: what was run, without the addresses.
        began: when, as `time.monotonic` has it.
        ended: when it was done.
    """

    line: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


def run_command(folder: Path, arguments: Sequence[str], addresses: Sequence[str] = ()) -> Command:
    """Run `torchserve-fire` in a folder, and print what it prints.

    Raises:
        FireError: it ended with another status than 0; with its last line.
    """
    line = " ".join(["torchserve-fire", *arguments])
    print(f"$ {line}", flush=True)
    began = time.monotonic()
    process = subprocess.run(  # noqa: S603 - our own command.
        [sys.executable, "-m", "torchserve_fire_build.commands.main", *arguments, *addresses],
        cwd=folder,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(process.stdout, flush=True)
    if process.returncode != 0:
        last = (process.stdout.strip().splitlines() or [""])[-1]
        raise FireError(f"{line}: exit status {process.returncode}: {last}")
    return Command(line, began, time.monotonic())


@dataclass(frozen=True)
class Went:
    """How the way to the repaired archive went.

    Attributes:
        commands: those that it took; the last one brought the repaired archive into production.
        answered: the requests of the load.
        expected: what the plain and the repaired archive answer to each body, computed locally.
        before: what the server answered to each clean test sample with the plain archive, and to
            each attackable one triggered.
        after: the same, with the repaired archive.
    """

    commands: list[Command]
    answered: list[Answered]
    expected: tuple[list[Any], list[Any]]
    before: tuple[list[Any], list[Any]]
    after: tuple[list[Any], list[Any]]

    def is_right(self, each: Answered) -> bool:
        """Whether a request was answered as the archive answers that was served at its time."""
        plain, repaired = (same_answer(each.body, part[each.number]) for part in self.expected)
        if each.ended < self.commands[-1].began:
            return plain
        return repaired if each.began > self.commands[-1].ended else plain or repaired


def go(case: Case, folder: Path, requests_at_least: int, clients: int) -> Went:
    """Serve the plain archive, and go from there to the repaired one, under load.

    Args:
        case: the case.
        folder: for the model store and the repaired archive.
        requests_at_least: how many requests the load is to have.
        clients: how many send it.

    Raises:
        FireError: a command failed, or the test samples are not answered.
    """
    store = folder / "store"
    store.mkdir()
    shutil.copy(case.archive, store)
    shutil.copy(case.archive, folder)
    unseen = [
        str(part)
        for part in write_samples(
            case.test[:UNSEEN], case.classes, case.target, case.suffix, folder / "unseen"
        )
    ]
    bodies = [
        case.body(contents)
        for sample in case.attackable[:SENT_PAIRS]
        for contents in (sample.clean, sample.triggered)
    ]
    plain = answers_of(case.archive, bodies)
    models = [f"{MODEL}={case.archive.name}"]
    with TorchServe(store, models, settings=SETTINGS, free_ports=True) as server:
        before = _ask_test(server, case, clients)
        senders = [_sender(server, bodies) for _ in range(clients)]
        with steady_traffic(senders, PAUSE_SECONDS) as answered:
            wait_for(answered, len(bodies))
            repair = [str(case.archive.name), "--clean", str(case.clean)]
            repair += ["--triggered", str(case.triggered), "--output", REPAIRED]
            evaluate = ["--archive", REPAIRED, "--clean", unseen[0], "--triggered", unseen[1]]
            deploy = [REPAIRED, "--model-name", MODEL, "--model-store", str(store)]
            addresses = ["--management", server.addresses.management]
            addresses += ["--inference", server.addresses.inference]
            addresses += ["--key-file", str(server.key_file)]
            commands = [
                run_command(folder, ["repair", *repair]),
                run_command(folder, ["evaluate", *evaluate]),
                run_command(folder, ["deploy", *deploy], addresses),
            ]
            wait_for(answered, max(LAST, requests_at_least - len(answered)))
        after = _ask_test(server, case, clients)
    repaired = answers_of(folder / REPAIRED, bodies)
    return Went(commands, list(answered), (plain, repaired), before, after)


def answers_of(archive: Path, bodies: Sequence[Body]) -> list[Any]:
    """Return what an archive answers to each body, in a worker process on this machine."""
    unpacked = unpack(archive)
    return [answer.body for answer in load_as_worker(unpacked.folder, MODEL, bodies)]


def _sender(server: TorchServe, bodies: Sequence[Body]) -> Callable[[int], Answered]:
    session = open_session(server.tokens.inference)
    url = f"{server.addresses.inference}/predictions/{MODEL}"

    def ask(index: int) -> Answered:
        number = index % len(bodies)
        return send(session, url, number, bodies[number])

    return ask


def _ask_test(server: TorchServe, case: Case, clients: int) -> tuple[list[Any], list[Any]]:
    clean = [case.body(sample.clean) for sample in case.test]
    triggered = [case.body(sample.triggered) for sample in case.attackable]
    with tqdm(total=2, desc=f"{case.name}: test samples", leave=False) as progress:
        answers = []
        for bodies in (clean, triggered):
            answers.append(ask_all(server, bodies, clients))
            progress.update()
    return answers[0], answers[1]
