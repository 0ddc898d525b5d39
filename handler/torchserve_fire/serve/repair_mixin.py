"""The repair as a mixin for any handler that derives from TorchServe's BaseHandler.

It attaches the archive's direction bundle when the worker starts, and tells each request what was
found; decoding, predicting and answering stay the handler's. A worker that cannot repair does not
start, and an answer that went by the corrections is not given.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, FireError, ModelError
from ..format.bundle import Bundle, InputDescription, Layer
from ..format.bundle_file import BUNDLE_FILE, load_bundle
from ..format.digest import file_sha256
from ..model.config import HandlerConfig, parse_config
from ..model.fit import check_model_fits, matching_input
from ..model.load_model import LoadedModel
from ..model.preprocess import read_body
from ..repair.attach import RepairHandle, attach
from ..repair.example_input import example_for
from ..repair.layers import eager_model
from ..repair.verdict import Verdict
from ..watch.quarantine import Quarantine
from ..watch.quarantine_queue import QuarantineQueue
from ..watch.watch import Watch
from .archive_signature import check_archive_folder

logger = logging.getLogger(__name__)

TRIAL_VARIABLE = "FIRE_TRIAL"
"""Set where an archive is only tried, on a machine that need not be the server's."""


class RepairMixin:
    """Adds the repair to a handler: `class Repaired(RepairMixin, TheirHandler)`.

    The handler must leave its model in `self.model`, and answer a batch with one forward pass of
    it, one sample per request in their order; where it does not, `requests_predicted` says which
    requests the samples stand for, else nothing is said about single requests (mode `reject`
    then refuses them all).

    Attributes:
        fire_config: the settings under `handler:` in `model-config.yaml`.
        fire_bundle: the direction bundle, or None in mode `off`.
        fire_input: what the model takes.
    """

    model: Any
    fire_config: HandlerConfig
    fire_bundle: Bundle | None = None
    fire_input: InputDescription
    _corrections: RepairHandle | None = None
    _watch: Watch
    _served_as: tuple[str, str] = ("", "")
    _warned = False

    def __init__(self) -> None:
        """Make the handler; TorchServe gives it no arguments.

        Raises:
            ModelError: its own `__init__` failed. Never a RuntimeError, as of `initialize`.
        """
        try:
            super().__init__()
        except Exception as error:
            raise ModelError(f"the handler cannot be made: {_one_line(error)}") from error

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
            reason = _one_line(error)
            logger.error("torchserve-fire does not serve model %s: %s", name, reason)
            if isinstance(error, FireError):
                raise
            raise ModelError(f"the model cannot be loaded: {reason}") from error
        if self.fire_bundle is None:
            logger.warning("torchserve-fire serves model %s WITHOUT repair: mode is off", name)
            return
        logger.info(
            "torchserve-fire serves model %s in mode %s with bundle %s, layers %s",
            name,
            self.fire_config.mode,
            self.fire_bundle.digest,
            ", ".join(f"{layer.name} ({layer.role})" for layer in self.fire_bundle.layers),
        )

    def handle(self, data: list[Any], context: Any) -> list[Any]:
        """Answer a batch with the handler's own `handle`, and tell each request what was found.

        Args:
            data: one row per request.
            context: TorchServe's context, with the headers of the requests.

        Returns:
            One answer per request.
        """
        if _asks_description(data, context):
            return [self.describe_handle()]
        corrections = self._corrections
        before = corrections.passes_made if corrections else 0
        answers: list[Any] = super().handle(data, context)  # type: ignore[misc]
        if not isinstance(answers, list) or len(answers) != len(data):
            return answers  # TorchServe answers the whole batch with an error.
        passes = corrections.passes_made - before if corrections else 0
        flags = self._flags(len(data), passes)
        if corrections and flags and any(flag is not None for flag in flags):
            self._take_note(data, flags, corrections.verdict, context)
        for i, answer in enumerate(answers):
            if context.get_response_status(i)[0] < HTTPStatus.BAD_REQUEST:
                flag = None if flags is None else flags[i]
                answers[i] = self._judged(answer, flag, passes, i, context)
        return answers

    def describe_handle(self) -> dict[str, Any]:
        """Return what is served, for the management API's `?customized=true`."""
        own = super().describe_handle()  # type: ignore[misc]
        described: dict[str, Any] = dict(own) if isinstance(own, dict) else {}
        bundle = self.fire_bundle
        name, version = self._served_as
        return described | {
            "model_name": name,
            "model_version": version,
            "mode": self.fire_config.mode,
            "bundle": bundle.digest if bundle else None,
            "input": {"kind": self.fire_input.kind, "shape": list(self.fire_input.shape)},
            "target": bundle.target if bundle else None,
            "layers": [_describe_layer(layer) for layer in bundle.layers] if bundle else [],
            "held_out": dict(bundle.held_out) if bundle else {},
            # Who has answered has nothing left from before: so a swap knows when all have.
            "worker_pid": os.getpid(),
            "counts": self._watch.describe(),
        }

    def requests_predicted(self, size: int) -> Sequence[int]:
        """Return which requests of the latest batch the samples of its forward pass stand for.

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

    def sample_reader(self, index: int, row: dict[str, Any]) -> Callable[[], Tensor]:
        """Return what reads a request's sample again, for the quarantine.

        Args:
            index: of the request in the latest batch.
            row: its parameters.
        """
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
            reason: why an input is bad, in a word or two that are the same for all such inputs:
                bad inputs are counted by it.
        """
        self._watch.refused(kind, reason)
        context.set_response_status(status, HTTPStatus(status).phrase, index)
        return {"code": status, "type": kind, "message": message}

    def _is_describe(self) -> bool:
        # BaseHandler would answer a whole batch with one description; `handle` decides instead.
        return False

    def _is_explain(self) -> bool:
        # Any client's header would turn a whole batch into explanations, which no repair reaches.
        return False

    def _start(self, context: Any, manifest: dict[str, Any]) -> None:
        values = context.model_yaml_config
        source = manifest.get("configFile", "model-config.yaml")
        config = parse_config(values if isinstance(values, dict) else {}, source)
        self.fire_config = config
        path = Path(context.system_properties["model_dir"])
        if config.trusted_keys:
            # Before the handler's own `initialize`, which reads the model file and the weights.
            check_archive_folder(path, config.trusted_keys)
        # While it starts, a handler may refuse inputs of its own.
        self._watch = self._watch_by(None, context)
        super().initialize(context)  # type: ignore[misc]
        if config.mode == "off":
            self.fire_input = _describe_unrepaired(config, path / BUNDLE_FILE)
            return
        model = _checked_model(self.model)
        bundle = load_bundle(path / BUNDLE_FILE)
        self.fire_input = matching_input(config, bundle)
        weights = manifest.get("serializedFile")
        check_model_fits(
            bundle,
            BUNDLE_FILE,
            LoadedModel(
                model, type(model).__name__, file_sha256(path / weights) if weights else None
            ),
            allow_other_weights=config.allow_other_weights,
        )
        if config.mode != "repair" and not bundle.detecting_layers:
            raise ConfigError(
                f"{source}: handler: mode: {config.mode!r} needs a bundle with a layer that "
                "detects; this one corrects every input"
            )
        if config.quarantine is not None and not bundle.detecting_layers:
            raise ConfigError(
                f"{source}: handler: quarantine: needs a bundle with a layer that detects; this "
                "one corrects every input, and every input would be kept"
            )
        self._corrections = attach(
            self.model,
            bundle.layers,
            self._example(path, source),
            target=bundle.target,
            mode="repair" if config.mode == "repair" else "observe",
        )
        self.fire_bundle = bundle
        self._watch = self._watch_by(bundle, context)

    def _watch_by(self, bundle: Bundle | None, context: Any) -> Watch:
        """Return what follows this worker's judgements by a bundle; by None, there are none."""
        # Without it the mixin can be imported where there is no TorchServe.
        from .torchserve_metrics import TorchServeMetrics

        config, quarantine = self.fire_config, None
        if bundle and config.quarantine is not None and TRIAL_VARIABLE not in os.environ:
            folder = Quarantine(config.quarantine, self._served_as[0], self.fire_input)
            quarantine = QuarantineQueue(folder)
        told = TorchServeMetrics(
            context.metrics, *self._served_as, "" if bundle is None else bundle.digest
        )
        return Watch(told, self._served_as, bundle, config.mode, quarantine)

    def _example(self, folder: Path, source: str) -> Tensor | Callable[[], Any]:
        """Return what the corrections are proved on: zeros, or the request in the example's file.

        Args:
            folder: the unpacked archive.
            source: the configuration's file, for messages.
        """
        name = self.fire_config.example
        if name is None:
            return example_for(self.model, self.fire_input)
        try:
            body: Any = (folder / name).read_bytes()
            if name.endswith(".json"):
                body = json.loads(body)  # As TorchServe hands it over.
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{source}: handler: example: {name}: {_one_line(error)}; expected a request's "
                "body as a file of the archive (package --extra-files)"
            ) from None
        row = {"body": body}
        return lambda: self.inference(self.preprocess([row]))  # type: ignore[attr-defined]

    def _flags(self, size: int, passes: int) -> list[bool | None] | None:
        """Return per request whether it was flagged (None: not predicted), None if not known."""
        positions = self.requests_predicted(size)
        if not positions:
            return [None] * size
        if passes != 1 or self._corrections is None:
            return None
        flagged = self._corrections.verdict.flagged.tolist()
        if len(flagged) != len(positions):
            return None
        flags: list[bool | None] = [None] * size
        for position, flag in zip(positions, flagged, strict=True):
            flags[position] = flag
        return flags

    def _take_note(
        self, data: list[Any], flags: list[bool | None], verdict: Verdict, context: Any
    ) -> None:
        """Count what was judged, and keep what was flagged."""
        self._watch.judged(verdict, flags, context.request_ids or {})
        for i, flag in enumerate(flags):
            if flag:
                self._watch.keep(self.sample_reader(i, data[i]))

    def _judged(self, answer: Any, flag: bool | None, passes: int, index: int, context: Any) -> Any:
        """Return one request's answer as the mode wants it, and set its headers."""
        if self.fire_bundle is None:
            return self._with_verdict(answer, None)
        mode = self.fire_config.mode
        context.set_response_header(index, "x-fire-bundle", self.fire_bundle.digest)
        if flag is None and (mode == "reject" or (mode == "repair" and not passes)):
            return self.refuse(
                context,
                index,
                500,
                "RepairError",
                "the answer cannot be told to have gone through the corrections: the handler must "
                "answer a batch with one forward pass of self.model, one sample per request",
            )
        if flag is None:
            if not self._warned:
                logger.warning(
                    "torchserve-fire: a batch was not answered with one forward pass and one "
                    "sample per request: no flags are given"
                )
                self._warned = True
            return self._with_verdict(answer, None)
        context.set_response_header(index, "x-fire-flagged", str(flag).lower())
        repaired = flag and mode == "repair"
        context.set_response_header(index, "x-fire-repaired", str(repaired).lower())
        if flag and mode == "reject":
            return self.refuse(
                context, index, 422, "FlaggedInput", "the input was judged to hold a trigger"
            )
        return self._with_verdict(answer, flag)

    def _with_verdict(self, answer: Any, flag: bool | None) -> Any:
        """Return an answer with the verdict beside it, where the configuration asks for that."""
        if not self.fire_config.flag_in_body or isinstance(answer, (bytes, bytearray)):
            return answer
        repaired = None if flag is None else flag and self.fire_config.mode == "repair"
        digest = self.fire_bundle.digest if self.fire_bundle else None
        verdict = {"flagged": flag, "repaired": repaired, "bundle": digest}
        return {"predictions": answer, "fire": verdict}


def _asks_description(data: Sequence[Any], context: Any) -> bool:
    # The management API sends a batch of one without a body. A client's header must not turn a
    # prediction into a description, nor its batch: on predictions TorchServe sets `explain`.
    return (
        len(data) == 1
        and not data[0]
        and context.get_request_header(0, "describe") == "True"
        and context.get_request_header(0, "explain") is None
    )


def _describe_layer(layer: Layer) -> dict[str, Any]:
    correction = layer.correction
    return {
        "name": layer.name,
        "role": layer.role,
        "target": layer.target,
        "form": correction.form if correction else None,
        "strength": correction.strength if correction else None,
    }


def _describe_unrepaired(config: HandlerConfig, path: Path) -> InputDescription:
    if config.input == "image":
        return config.describe_input()
    if not path.is_file():
        raise ConfigError(
            f"handler: mode: off with input: {config.input}: the shape of a sample is read from "
            f"{BUNDLE_FILE}, which the archive lacks"
        )
    return matching_input(config, load_bundle(path))


def _checked_model(model: Any) -> nn.Module:
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(
            "the model is a ScriptModule, whose layers run no hooks: bring the Python model file "
            "and its state_dict instead (package --model-file net.py --serialized-file w.pth)"
        )
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"the handler's initialize left {type(model).__name__} in self.model, expected a "
            "torch.nn.Module"
        )
    return eager_model(model)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
