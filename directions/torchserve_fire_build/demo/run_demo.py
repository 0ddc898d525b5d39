"""The demo, from the digits to the figures."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torchserve_fire.errors import FireError

from ..common.environment import check_environment
from ..deployment.server.torchserve import TorchServe
from ..measure.figures import Answers, Figures, measure
from .ask_server import Answer, ask_server
from .by_hand import READ_KEY_FILE, URL_OF_SERVE, curl_line, serve_line
from .digits import Digits, load_digits, split_digits
from .elapsed import elapsed
from .output_folder import DemoFiles, fresh_output, write_images, write_model
from .picture import Row, draw
from .train import one_thread, train
from .trigger import POISONED_SHARE, TARGET, poison, with_trigger

PLAIN, REPAIRED = "digits_plain", "digits_repaired"
VERSION = "1.0"
SEED = 0

RunCommand = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Case:
    """Images of one kind, clean or triggered.

    Attributes:
        digits: the images with their true labels.
        files: their files.
    """

    digits: Digits
    files: Sequence[Path]


@dataclass(frozen=True)
class Measured:
    """What the server answered.

    Attributes:
        answers: by archive and kind.
        figures: before (the plain archive) and after repair (the repaired one).
    """

    answers: dict[tuple[str, str], list[Answer]]
    figures: Figures


def run_demo(output: Path, run_command: RunCommand, *, keep: bool) -> Measured:
    """Run the whole demo and print what happened.

    Args:
        output: folder for everything that is written; emptied where the demo does not finish.
        run_command: runs a command of ours, and returns its exit status.
        keep: whether the server stays up until an interrupt.

    Returns:
        What the server answered.

    Raises:
        FireError: the folder holds something else, or a step failed.
    """
    check_environment()
    with contextlib.ExitStack() as stack:
        with fresh_output(output) as files:
            parts = split_digits(load_digits(), SEED)
            print(
                f"Training on {len(parts.train)} handwritten digits; the attacker stamped a patch "
                f"on {POISONED_SHARE:.0%} of them and called these {TARGET}.",
                flush=True,
            )
            write_model(files, train(poison(parts.train, SEED), SEED))
            _write_cases(parts.calibration, files, "calibration")
            cases = _write_cases(parts.test, files, "test")
            with one_thread():
                _build_and_package(files, run_command)
            server = stack.enter_context(_serve(files))
            measured = _measure(server, cases)
            _draw(cases, measured, files.picture)
        counts = [len(cases[kind].files) for kind in ("clean", "triggered")]
        print(
            f"\nAs answered by TorchServe on {counts[0]} clean and {counts[1]} triggered images:\n"
        )
        print("\n".join(measured.figures.table()))
        print(f"\nPicture: {files.picture}")
        example = cases["triggered"].files[0]
        if keep:
            _keep(server, example)
        else:
            print("\nTo try it by hand, run the demo with --keep, or serve the archives:\n")
            print(f"  {serve_line(files.model_store, _models())}")
            print(f"  {curl_line(READ_KEY_FILE, example, f'{URL_OF_SERVE}/{REPAIRED}')}")
    return measured


def _write_cases(digits: Digits, files: DemoFiles, part: str) -> dict[str, Case]:
    """Write a part's clean images, and the triggered ones under the names of their partners."""
    others = np.flatnonzero(digits.labels != TARGET)
    triggered = with_trigger(digits)
    return {
        "clean": Case(
            digits, write_images(digits, range(len(digits)), files.images(part, "clean"))
        ),
        "triggered": Case(
            triggered, write_images(triggered, others.tolist(), files.images(part, "triggered"))
        ),
    }


def _build_and_package(files: DemoFiles, run_command: RunCommand) -> None:
    def run(*words: object) -> None:
        arguments = [str(word) for word in words]
        print(f"\n$ torchserve-fire {shlex.join(arguments)}", flush=True)
        if run_command(arguments) != 0:
            raise FireError(f"{arguments[0]} failed")

    model = ["--model-file", files.model_file, "--serialized-file", files.weights]
    run(
        "build", *model, "--config-file", files.config,
        "--clean", files.images("calibration", "clean"),
        "--triggered", files.images("calibration", "triggered"),
        "--seed", SEED, "--output", files.bundle,
    )  # fmt: skip
    for name, settings in (
        (PLAIN, ["--config-file", files.plain_config]),
        (REPAIRED, ["--config-file", files.config, "--bundle", files.bundle]),
    ):
        run(
            "package", "--model-name", name, "--version", VERSION, *model, *settings,
            "--export-path", files.model_store,
        )  # fmt: skip


@contextlib.contextmanager
def _serve(files: DemoFiles) -> Iterator[TorchServe]:
    server = TorchServe(files.model_store, _models(), free_ports=True)
    print(f"\nStarting TorchServe on {server.addresses.inference}", flush=True)
    try:
        with elapsed("starting"):
            server.start()
            server.wait_until_ready()
        yield server
    finally:
        server.stop()


def _models() -> list[str]:
    return [f"{name}={name}-{VERSION}.mar" for name in (PLAIN, REPAIRED)]


def _measure(server: TorchServe, cases: dict[str, Case]) -> Measured:
    answers = {
        (name, kind): ask_server(
            _url(server, name), server.tokens.inference, case.files, f"{name}, {kind}"
        )
        for name in (PLAIN, REPAIRED)
        for kind, case in cases.items()
    }
    clean = cases["clean"].digits.labels
    partners = _observed(answers, "clean", clean).before[np.flatnonzero(clean != TARGET)]
    triggered = cases["triggered"].digits.labels
    figures = measure(
        _observed(answers, "clean", clean),
        _observed(answers, "triggered", triggered),
        TARGET,
        partners == torch.from_numpy(triggered),
    )
    return Measured(answers, figures)


def _observed(
    answers: dict[tuple[str, str], list[Answer]], kind: str, labels: np.ndarray[Any, Any]
) -> Answers:
    return Answers(
        before=torch.tensor([answer.digit for answer in answers[PLAIN, kind]]),
        after=torch.tensor([answer.digit for answer in answers[REPAIRED, kind]]),
        flagged=torch.tensor([answer.flagged for answer in answers[REPAIRED, kind]]),
        reference=torch.from_numpy(labels).long(),
    )


def _draw(cases: dict[str, Case], measured: Measured, path: Path) -> None:
    clean, triggered = cases["clean"].digits, cases["triggered"].digits
    others = np.flatnonzero(clean.labels != TARGET)
    columns = [int(np.flatnonzero(triggered.labels == k)[0]) for k in np.unique(triggered.labels)]
    partners = [int(others[i]) for i in columns]
    figures = measured.figures
    recovered = figures.recovered_accuracy or (0.0, 0.0)

    def row(
        title: str, archive: str, verdict: str, kind: str, index: Sequence[int], good: bool
    ) -> Row:
        answers = measured.answers[archive, kind]
        name = "repaired" if archive == REPAIRED else "plain"
        return Row(
            title, f"to the {name} archive", verdict, good,
            cases[kind].digits.images[index], [answers[i] for i in index],
        )  # fmt: skip

    with elapsed("drawing"):
        draw(
            [
                row(
                    "Clean digits",
                    PLAIN,
                    f"{figures.clean_accuracy[0]:.1%} right",
                    "clean",
                    partners,
                    True,
                ),
                row(
                    "With the trigger",
                    PLAIN,
                    f"{figures.attack_success_rate[0]:.1%} read as {TARGET}",
                    "triggered",
                    columns,
                    False,
                ),
                row(
                    "With the trigger",
                    REPAIRED,
                    f"{recovered[1]:.1%} right",
                    "triggered",
                    columns,
                    True,
                ),
                row(
                    "Clean digits",
                    REPAIRED,
                    f"{figures.clean_accuracy[1]:.1%} right",
                    "clean",
                    partners,
                    True,
                ),
            ],
            triggered.labels[columns].tolist(),
            path,
        )


def _keep(server: TorchServe, example: Path) -> None:
    print("\nThe server stays up until Ctrl-C. Try it by hand, with the repair and without:\n")
    for name in (REPAIRED, PLAIN):
        print(f"  {curl_line(server.tokens.inference, example, _url(server, name))}")
    sys.stdout.flush()
    try:
        status = server.wait()
    except KeyboardInterrupt:
        return
    raise FireError(f"TorchServe ended with status {status}")


def _url(server: TorchServe, model: str) -> str:
    return f"{server.addresses.inference}/predictions/{model}"
