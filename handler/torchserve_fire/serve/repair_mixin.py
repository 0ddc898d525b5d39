"""The repair as a mixin for any handler that derives from TorchServe's BaseHandler.

It attaches the archive's direction bundle when the worker starts, and says with each answer what
was found. Decoding, predicting and answering stay the handler's. A worker that cannot repair does
not start, and an answer that bypassed the corrections is not given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.answer import Answer
from ..core.answering import Refusal
from ..core.description import OwnInput
from ..core.served_repair import ServedRepair
from ..core.worker_start import (
    check_bundle,
    describe_unrepaired,
    example_of,
    known_model,
    one_line,
    own_input,
    read_config,
)
from ..errors import FireError, ModelError
from ..format.bundle import Bundle, InputDescription
from ..format.bundle_file import BUNDLE_FILE, load_bundle
from ..model.config import OWN_HANDLER, HandlerConfig
from ..model.fit import with_digest_for
from ..model.preprocess import kept_body, read_body
from ..model.request_body import RequestBody, request_body
from ..watch.metrics import Metrics
from ..watch.watch import Watch
from .service_envelope import refuse_envelope

logger = logging.getLogger(__name__)


class RepairMixin:
    """Adds the repair to a handler: `class Repaired(RepairMixin, TheirHandler)`.

    The handler must leave its model in `self.model`, and answer a batch with one forward pass of
    it, with one sample per request in their order. Where the samples are others,
    `requests_predicted` says which requests they stand for. Otherwise nothing is said about single
    requests, and mode `reject` refuses them all.

    Attributes:
        fire_config: the settings under `handler:` in `model-config.yaml`.
        fire_input: what the model takes.
    """

    model: Any
    fire_config: HandlerConfig
    fire_input: InputDescription
    _repair: ServedRepair
    _served_as: tuple[str, str] = ("", "")
    _own_input: OwnInput | None = None

    def __init__(self) -> None:
        """Make the handler; TorchServe gives it no arguments.

        Raises:
            ModelError: its own `__init__` failed. Never a RuntimeError, as of `initialize`.
        """
        try:
            super().__init__()
        except Exception as error:
            raise ModelError(f"the handler cannot be made: {one_line(error)}") from error

    @property
    def fire_bundle(self) -> Bundle | None:
        """The direction bundle that serves; None in mode `off`, and before there is one."""
        return self._repair.bundle if hasattr(self, "_repair") else None

    def initialize(self, context: Any) -> None:
        """Load the model with the handler's own `initialize`, and attach the bundle to it.

        Args:
            context: TorchServe's context of the worker.

        Raises:
            FireError: the model cannot be served as the configuration asks. Never a RuntimeError,
                on which TorchServe would keep a version without workers.
        """
        manifest = context.manifest["model"]
        self._served_as = (str(context.model_name), str(manifest.get("modelVersion", "")))
        name = " ".join(self._served_as)
        try:
            self._start(context, manifest)
        except Exception as error:
            # The client of a failed registration only reads 'Failed to start workers'.
            reason = one_line(error)
            logger.error("torchserve-fire does not serve model %s: %s", name, reason)
            if isinstance(error, FireError):
                raise
            raise ModelError(f"the model cannot be loaded: {reason}") from error
        self._repair.announce()

    def handle(self, data: list[Any], context: Any) -> list[Any]:
        """Answer a batch with the handler's own `handle`, and say with each answer what was found.

        Args:
            data: one row per request.
            context: TorchServe's context, with the headers of the requests.

        Returns:
            One answer per request.
        """
        if _asks_description(data, context):
            return [self.describe_handle()]
        with self._repair.batch() as batch:
            answers: list[Any] = super().handle(data, context)  # type: ignore[misc]
            if not isinstance(answers, list) or len(answers) != len(data):
                return answers  # TorchServe answers the whole batch with an error.
            batch.judge(
                len(data),
                self.requests_predicted(len(data)),
                context.request_ids or {},
                lambda i: self.sample_reader(i, data[i]),
            )
            for i, answer in enumerate(answers):
                if context.get_response_status(i)[0] < HTTPStatus.BAD_REQUEST:
                    answers[i] = _send(batch.answer(i, answer), i, context)
        return answers

    def describe_handle(self) -> dict[str, Any]:
        """Return what is served, for the management API's `?customized=true`."""
        parent: Any = super()
        own = parent.describe_handle() if hasattr(parent, "describe_handle") else None
        described: dict[str, Any] = dict(own) if isinstance(own, dict) else {}
        return described | self._repair.describe(self.fire_input, self._own_input)

    def requests_predicted(self, size: int) -> Sequence[int]:
        """Return the requests of the latest batch that the samples of its forward pass stand for.

        Args:
            size: number of requests in the batch.

        Returns:
            Indices of requests, in the order of the samples; all of them, unless overridden.
        """
        return range(size)

    def body_of(self, row: dict[str, Any]) -> Any:
        """Return a request's body, as `read_body` takes it where it can.

        Args:
            row: the request's parameters.
        """
        return row.get("data", row.get("body"))

    def sample_reader(self, index: int, row: dict[str, Any]) -> Callable[[], Tensor | RequestBody]:
        """Return what reads a request's sample again, for the quarantine.

        Where the handler prepares inputs in its own way, that is the request's body.

        Args:
            index: of the request in the latest batch.
            row: its parameters.
        """
        if self.fire_config.input == OWN_HANDLER:
            return lambda: request_body(self.body_of(row))
        if (table := self.fire_input.table) is not None:
            return lambda: kept_body(self.body_of(row), table, self.fire_config.columns_beside)
        return lambda: read_body(self.body_of(row), self.fire_input)

    def refuse(
        self,
        context: Any,
        index: int,
        status: int,
        kind: str,
        message: str,
        reason: str = "other",
    ) -> dict[str, Any]:
        """Set one request's status and return its error body, which says the same over gRPC.

        Args:
            context: TorchServe's.
            index: of the request in its batch.
            status: HTTP status code.
            kind: the error's name; `InputError` of a bad input.
            message: for the client, on one line.
            reason: why an input is bad, in a word or two, the same for all such inputs: they are
                counted by it.
        """
        refusal = Refusal(status, kind, message, reason)
        self._watch.refused(kind, reason)
        context.set_response_status(status, HTTPStatus(status).phrase, index)
        return refusal.body

    @property
    def _watch(self) -> Watch:
        return self._repair.watch

    def _is_describe(self) -> bool:
        # BaseHandler would answer a whole batch with one description. `handle` decides instead.
        return False

    def _is_explain(self) -> bool:
        # Any client's header would turn a whole batch into explanations, which no repair reaches.
        return False

    def _start(self, context: Any, manifest: dict[str, Any]) -> None:
        source = manifest.get("configFile", "model-config.yaml")
        folder = Path(context.system_properties["model_dir"])
        refuse_envelope()
        # Before the handler's own `initialize`, which reads the model file and the weights.
        self.fire_config = read_config(context.model_yaml_config, source, folder)
        # While it starts, a handler may refuse inputs of its own.
        self._repair = ServedRepair(
            self.fire_config, self._served_as, lambda *of: _metrics(context, *of), source
        )
        if not hasattr(super(), "initialize"):
            raise ModelError(
                "the handler has no `initialize`, expected one that loads the model into "
                "self.model, as that of TorchServe's BaseHandler does"
            )
        super().initialize(context)  # type: ignore[misc]
        if self.fire_config.mode == "off":
            self.fire_input = describe_unrepaired(self.fire_config, folder)
            return
        weights = manifest.get("serializedFile")
        bundle = load_bundle(folder / BUNDLE_FILE)
        known = known_model(self.model, folder / weights if weights else None)
        loaded = with_digest_for(bundle, known)
        self.fire_input = check_bundle(bundle, BUNDLE_FILE, loaded, self.fire_config, source)
        example = self._example(folder, source, context)
        self._own_input = own_input(self.fire_config, folder, self.fire_input)
        self._repair.start(loaded, self.model, bundle, self.fire_input, example)

    def _example(self, folder: Path, source: str, context: Any) -> Tensor | Callable[[], Any]:
        """Return what the model is tried on when a worker starts.

        Raises:
            ConfigError: the example that the settings name cannot be read.
        """
        return example_of(
            self.fire_config,
            folder,
            source,
            self.model,
            self.fire_input,
            lambda body: self._predict(body, context),
        )

    def _predict(self, body: Any, context: Any) -> Any:
        """Predict for one request's body, as the handler does for requests."""
        if self.fire_config.input != OWN_HANDLER:
            return self.inference(self.preprocess([{"body": body}]))  # type: ignore[attr-defined]
        # A handler of the user's own may do anything in `handle`, and read either parameter.
        from .example_request import as_request

        with as_request(context):
            return super().handle([{"body": body, "data": body}], context)  # type: ignore[misc]


def _metrics(context: Any, model: str, version: str, bundle: str) -> Metrics:
    # Without it the mixin can be imported where there is no TorchServe.
    from .torchserve_metrics import TorchServeMetrics

    return TorchServeMetrics(context.metrics, model, version, bundle)


def _send(answer: Answer, index: int, context: Any) -> Any:
    """Set one request's headers, and its status where it is refused; return what is sent."""
    for name, value in answer.headers.items():
        context.set_response_header(index, name, value)
    if answer.status >= HTTPStatus.BAD_REQUEST:
        context.set_response_status(answer.status, HTTPStatus(answer.status).phrase, index)
    return answer.body


def _asks_description(data: Sequence[Any], context: Any) -> bool:
    # The management API sends a batch of one without a body. A client's header must turn neither a
    # prediction nor its batch into a description; on predictions TorchServe sets `explain`.
    return (
        len(data) == 1
        and not data[0]
        and context.get_request_header(0, "describe") == "True"
        and context.get_request_header(0, "explain") is None
    )
