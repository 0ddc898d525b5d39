"""What a running server serves: every version of every model, and what its workers have judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .management import Management, ModelVersion
from .server_errors import ServerError

QUESTIONS = 5
"""Asked for each worker: TorchServe passes one on to any of them, so one may get several."""

COUNTS = ("judged", "flagged", "repaired", "rejected", "unrepaired")


@dataclass(frozen=True)
class ServedVersion:
    """A version of a model, and what those of its workers have counted that answered.

    Attributes:
        model: the model's name.
        version: the version.
        plain: whether a worker answered, and not as a handler of this project does.
        default: whether requests that name no version get it.
        workers: how many workers have loaded it.
        min_workers: how many there should be.
        answered: how many workers said what they have counted since they started.
        mode: of the handler; None where no worker answered, or the handler is not this project's.
        bundle: its digest, None without one; that of most workers, where they differ.
        bundles: of each worker that answered, by its process.
        refused: why a worker did not take the newest bundle of its folder, by its process.
        judged: requests that were judged.
        flagged: of these.
        repaired: of these.
        rejected: of these.
        unrepaired: requests that were refused, since it was not certain that they were repaired.
        bad_inputs: refused requests, by reason.
        drift: largest of the workers' -log10 p of the latest test of the clean scores, by the
            class that the trigger leads to; None before the first test.
    """

    model: str
    version: str
    plain: bool
    default: bool
    workers: int
    min_workers: int
    answered: int
    mode: str | None
    bundle: str | None
    bundles: Mapping[int, str | None]
    refused: Mapping[int, str]
    judged: int
    flagged: int
    repaired: int
    rejected: int
    unrepaired: int
    bad_inputs: Mapping[str, int]
    drift: Mapping[str, float | None]

    @property
    def flagged_share(self) -> float | None:
        """Share of the judged requests that were flagged, None where none was judged."""
        return self.flagged / self.judged if self.judged else None


def served_versions(management: Management) -> list[ServedVersion]:
    """Ask a server for everything that it serves.

    Raises:
        ServerError: it cannot be reached, or refuses.
    """
    served = []
    for name in sorted(management.models()):
        default = management.describe(name).version
        for version in management.describe_all(name):
            answers, plain = _ask_workers(management, version)
            served.append(_sum_up(version, version.version == default, answers, plain=plain))
    return served


def _ask_workers(management: Management, model: ModelVersion) -> tuple[list[dict[str, Any]], bool]:
    """Return what each worker that can be reached says of itself, and whether one is plain."""
    ready = sum(model.workers.values())
    answers: dict[Any, dict[str, Any]] = {}
    for _ in range(QUESTIONS * ready):
        if len(answers) == ready:
            break
        try:
            answer = management.describe(model.name, model.version, customized=True).customized
        except ServerError:  # It was unregistered meanwhile, or its worker ended.
            break
        if not isinstance(answer, dict) or "counts" not in answer:
            return list(answers.values()), True
        answers[answer["worker_pid"]] = answer
    return list(answers.values()), False


def _sum_up(
    model: ModelVersion, default: bool, answers: list[dict[str, Any]], *, plain: bool
) -> ServedVersion:
    counts = [answer["counts"] for answer in answers]
    bad_inputs: dict[str, int] = {}
    drift: dict[str, float | None] = {}
    for each in counts:
        for reason, value in each["bad_inputs"].items():
            bad_inputs[reason] = bad_inputs.get(reason, 0) + value
        for target, value in each["drift"].items():
            known = drift.get(target)
            drift[target] = max((v for v in (known, value) if v is not None), default=None)
    # TorchServe leaves out what is null.
    bundles = {int(answer["worker_pid"]): answer.get("bundle") for answer in answers}
    return ServedVersion(
        model=model.name,
        version=model.version,
        plain=plain,
        default=default,
        workers=sum(model.workers.values()),
        min_workers=model.min_workers,
        answered=len(answers),
        mode=answers[0]["mode"] if answers else None,
        bundle=Counter(bundles.values()).most_common(1)[0][0] if bundles else None,
        bundles=bundles,
        refused={
            int(answer["worker_pid"]): str(refused["reason"])
            for answer in answers
            if (refused := (answer.get("bundle_folder") or {}).get("refused")) is not None
        },
        bad_inputs=bad_inputs,
        drift=drift,
        **{name: sum(each[name] for each in counts) for name in COUNTS},
    )
