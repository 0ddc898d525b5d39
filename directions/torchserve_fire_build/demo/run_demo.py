"""The demo, from the samples to the figures."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchserve_fire.errors import FireError

from ..common.environment import check_environment
from ..deployment.server.torchserve import TorchServe
from ..measure.figures import Answers, measure
from .ask_server import Answer, ask_server
from .by_hand import READ_KEY_FILE, URL_OF_SERVE, curl_line, serve_line
from .elapsed import elapsed
from .kind import CLEAN, PLAIN, REPAIRED, SEED, TRIGGERED, Case, Kind, Measured, Prepared
from .kinds import KINDS
from .output_folder import DemoFiles, fresh_output
from .train import one_thread

VERSION = "1.0"

RunCommand = Callable[[Sequence[str]], int]


def run_demo(name: str, output: Path, run_command: RunCommand, *, keep: bool) -> Measured:
    """Run the whole demo and print what happened.

    Args:
        name: of the kind of demo, one of `kinds.KINDS`.
        output: folder for everything that is written; emptied where the demo does not finish.
        run_command: runs a command of ours, and returns its exit status.
        keep: whether the server stays up until an interrupt.

    Returns:
        What the server answered.

    Raises:
        FireError: the folder holds something else, or a step failed.
    """
    check_environment()
    kind = KINDS[name]
    files = DemoFiles(output, kind.name, kind.model_file.stem)
    with contextlib.ExitStack() as stack:
        with fresh_output(files):
            prepared = kind.prepare(files)
            with one_thread():
                _build_and_package(kind, prepared, files, run_command)
            server = stack.enter_context(_serve(files))
            measured = _measure(server, kind, prepared.cases)
            clean, triggered = (len(prepared.cases[case].files) for case in (CLEAN, TRIGGERED))
            print(
                f"\nAs answered by TorchServe on {clean} clean and {triggered} triggered "
                f"{kind.samples}:\n"
            )
            print("\n".join(measured.figures.table()))
            kind.show(prepared, measured, files)
        example = prepared.cases[TRIGGERED].files[0]
        if keep:
            _keep(server, kind, example)
        else:
            url = f"{URL_OF_SERVE}/{_archive(kind.name, REPAIRED)}"
            print("\nTo try it by hand, run the demo with --keep, or serve the archives:\n")
            print(f"  {serve_line(files.model_store, _models(files))}")
            print(f"  {curl_line(READ_KEY_FILE, example, url, kind.content_type)}")
    return measured


def _build_and_package(
    kind: Kind, prepared: Prepared, files: DemoFiles, run_command: RunCommand
) -> None:
    def run(*words: object) -> None:
        arguments = [str(word) for word in words]
        print(f"\n$ torchserve-fire {shlex.join(arguments)}", flush=True)
        if run_command(arguments) != 0:
            raise FireError(f"{arguments[0]} failed")

    samples = [
        "--clean", prepared.clean, "--triggered", prepared.triggered,
        "--seed", SEED, "--output", files.bundle,
    ]  # fmt: skip
    if kind.pack is not None:
        plain = files.model_store / f"{_archive(files.name, PLAIN)}-{VERSION}.mar"
        print(f"\n$ {kind.pack(files, plain)}", flush=True)
        run("build", "--archive", plain, *samples)
        run(
            "package", "--archive", plain, "--bundle", files.bundle, "--version", VERSION,
            "--model-name", _archive(files.name, REPAIRED), "--export-path", files.model_store,
        )  # fmt: skip
        return
    model = ["--model-file", files.model_file, "--serialized-file", files.weights]
    run("build", *model, "--config-file", files.config, *samples)
    named = ["--extra-files", files.class_names] if files.class_names.is_file() else []
    for name, settings in (
        (PLAIN, ["--config-file", files.plain_config]),
        (REPAIRED, ["--config-file", files.config, "--bundle", files.bundle]),
    ):
        run(
            "package", "--model-name", _archive(files.name, name), "--version", VERSION, *model,
            *settings, *named, "--export-path", files.model_store,
        )  # fmt: skip


def _archive(kind: str, name: str) -> str:
    """Return what the plain or the repaired archive is called."""
    return f"{kind}_{name}"


@contextlib.contextmanager
def _serve(files: DemoFiles) -> Iterator[TorchServe]:
    server = TorchServe(files.model_store, _models(files), free_ports=True)
    print(f"\nStarting TorchServe on {server.addresses.inference}", flush=True)
    try:
        with elapsed("starting"):
            server.start()
            server.wait_until_ready()
        yield server
    finally:
        server.stop()


def _models(files: DemoFiles) -> list[str]:
    archives = [_archive(files.name, name) for name in (PLAIN, REPAIRED)]
    return [f"{archive}={archive}-{VERSION}.mar" for archive in archives]


def _measure(server: TorchServe, kind: Kind, cases: Mapping[str, Case]) -> Measured:
    answers = {
        (name, case): ask_server(
            _url(server, kind, name),
            server.tokens.inference,
            of_case.files,
            f"{_archive(kind.name, name)}, {case}",
            classes=kind.classes,
            content_type=kind.content_type,
        )
        for name in (PLAIN, REPAIRED)
        for case, of_case in cases.items()
    }
    labels = {case: torch.from_numpy(of_case.labels) for case, of_case in cases.items()}
    clean, triggered = (_observed(answers, case, labels[case]) for case in (CLEAN, TRIGGERED))
    partners = clean.before[labels[CLEAN] != kind.target]
    right = partners == labels[TRIGGERED]
    return Measured(answers, measure(clean, triggered, kind.target, right))


def _observed(
    answers: Mapping[tuple[str, str], Sequence[Answer]],
    case: str,
    labels: Tensor,
) -> Answers:
    return Answers(
        before=torch.tensor([answer.index for answer in answers[PLAIN, case]]),
        after=torch.tensor([answer.index for answer in answers[REPAIRED, case]]),
        flagged=torch.tensor([answer.flagged for answer in answers[REPAIRED, case]]),
        reference=labels,
    )


def _keep(server: TorchServe, kind: Kind, example: Path) -> None:
    print("\nThe server stays up until Ctrl-C. Try it by hand, with the repair and without:\n")
    for name in (REPAIRED, PLAIN):
        url = _url(server, kind, name)
        print(f"  {curl_line(server.tokens.inference, example, url, kind.content_type)}")
    sys.stdout.flush()
    try:
        status = server.wait()
    except KeyboardInterrupt:
        return
    raise FireError(f"TorchServe ended with status {status}")


def _url(server: TorchServe, kind: Kind, name: str) -> str:
    return f"{server.addresses.inference}/predictions/{_archive(kind.name, name)}"
