"""A model that is served with repair: it answers batches of request bodies, in any server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import FireError, ModelError
from ..format.bundle import Bundle, InputDescription
from .answer import Answer
from .answering import Refusal
from .batching import ONE_BY_ONE, Batching
from .classify import Classifier, answers_to, samples_in
from .open_inference import infer_request, infer_response
from .served_repair import Batch, ServedRepair
from .unpack import Unpacked


@dataclass(frozen=True)
class AnswerForm:
    """How classes are told to clients.

    Attributes:
        served_as: the model's name and version.
        names: of the classes, by their indices in digits.
        probabilities: whether the model gives probabilities in the place of logits.
    """

    served_as: tuple[str, str]
    names: Mapping[str, str]
    probabilities: bool


class ServedModel:
    """A model that is served with repair. Made by `open_model`.

    Several threads may ask at once, and swap the bundle meanwhile. It is a context manager, too.

    Args:
        classifier: the model.
        form: of the answers.
        repair: of the model.
        archive: that the model is of, if any; what was unpacked of it goes when it is closed.
        batching: how a server is to make batches, where the archive says it.

    Example:
        >>> with open_model("net-1.0.mar") as model:
        ...     (answer,) = model.answer([Path("cat.png").read_bytes()])
        ...     print(answer.status, answer.body, answer.headers["x-fire-flagged"])
    """

    def __init__(
        self,
        classifier: Classifier,
        form: AnswerForm,
        repair: ServedRepair,
        archive: Unpacked | None = None,
        batching: Batching = ONE_BY_ONE,
    ) -> None:
        self.batching = batching
        self._classifier = classifier
        self._form = form
        self._repair = repair
        self._archive = archive

    @property
    def name(self) -> str:
        """The model's name."""
        return self._form.served_as[0]

    @property
    def version(self) -> str:
        """The model's version."""
        return self._form.served_as[1]

    @property
    def input(self) -> InputDescription:
        """What the model takes."""
        return self._classifier.described

    @property
    def bundle(self) -> Bundle | None:
        """The direction bundle that serves; None in mode `off`."""
        return self._repair.bundle

    @property
    def bundle_folder(self) -> Path | None:
        """The folder whose newest bundle serves; None where the settings name none."""
        return self._classifier.config.bundle_folder

    def answer(self, bodies: Sequence[Any], request_ids: Sequence[str] = ()) -> list[Answer]:
        """Answer a batch of requests by one forward pass and one bundle.

        A request that is bad, or flagged in mode `reject`, is refused alone.

        Args:
            bodies: of each request: the bytes of an image, text (an image in base64), or decoded
                JSON: a list, an object with `data`, or a request of the Open Inference Protocol,
                which gets an answer of that protocol. Of a table, a row: an object, or CSV.
            request_ids: of each request, for the log; none where they have none.

        Returns:
            Of each request, in their order, the status, the body and the headers.

        Raises:
            FireError: the model was closed, or is in training mode; or the bodies are no list, or
                the identifiers not as many.
            Exception: what the model itself raises; then no request of the batch has an answer.
        """
        if not isinstance(bodies, Iterable) or isinstance(bodies, (str, bytes, bytearray, Mapping)):
            raise FireError(
                f"bodies: {type(bodies).__name__}, expected a list with one body for each request"
            )
        bodies = list(bodies)
        if len(request_ids) not in (0, len(bodies)):
            raise FireError(
                f"request_ids: {len(request_ids)} for {len(bodies)} requests, expected one for "
                "each, or none"
            )
        if self._classifier.model.training:
            # Requests would change what it knows, and dropout what it answers.
            raise ModelError(f"the model {self.name} is in training mode: call its eval() first")
        with self._repair.batch() as batch:
            asked = [infer_request({"body": body}) for body in bodies]
            samples = [
                self._classifier.read(body, request)
                for body, request in zip(bodies, asked, strict=True)
            ]
            logits = self._classifier.predict(samples)
            answers = answers_to(
                logits,
                self._classifier.config.topk,
                self._form.names,
                probabilities=self._form.probabilities,
            )
            batch.judge(
                len(bodies),
                samples_in(samples),
                dict(enumerate(request_ids)),
                lambda i: lambda: self._classifier.to_keep(samples[i], bodies[i], asked[i]),
            )
            return [
                self._told(batch, i, answer, request)
                for i, (answer, request) in enumerate(zip(answers, asked, strict=True))
            ]

    def swap(self, bundle: Bundle | Path | str | None) -> None:
        """Put another bundle in the place of the one that serves, without a pause.

        It is checked as the first one was, and proves itself beside that, which goes on answering.
        Then it takes over between two batches. The weights stay: there is no second copy of them.
        When this returns, no answer by the old bundle is on its way.

        Args:
            bundle: its file, or what `load_bundle` or `save_bundle` returned. Where keys are
                trusted, a file with a signature by one of them beside it. None: the one that the
                model was opened with.

        Raises:
            SwapError: it is damaged, of another model or input, not signed, or does not work. The
                old bundle goes on serving.
            FireError: the model was closed.
        """
        self._repair.swap(bundle)

    def describe(self) -> dict[str, Any]:
        """Return what is served, and what was counted, of what JSON has.

        Where the settings name a folder of bundles, its newest one is taken before, or was refused.
        """
        return self._repair.describe(self._classifier.described, patience=None)

    def close(self) -> None:
        """Finish the batches on their way, keep what waits to be kept, and take the repair off.

        A second call does nothing.
        """
        self._repair.close()
        if self._archive is not None:
            self._archive.remove()

    def __enter__(self) -> ServedModel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _told(
        self,
        batch: Batch,
        index: int,
        answer: dict[str, float] | Refusal,
        request: Mapping[str, Any] | None,
    ) -> Answer:
        """Return one request's answer in the form that it was asked in."""
        told = batch.refuse(answer) if isinstance(answer, Refusal) else batch.answer(index, answer)
        if request is None:
            return told
        in_body = self._classifier.config.flag_in_body
        body = infer_response(request, self._form.served_as, told, flag_in_body=in_body)
        return Answer(told.status, body, told.headers)
