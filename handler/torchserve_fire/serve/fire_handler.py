"""The handler of an image classifier, or of one that takes a tensor, served with repair.

It derives from TorchServe's BaseHandler; VisionHandler would ask for captum.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor, nn
from ts.torch_handler.base_handler import BaseHandler

from ..core.answer import Answer
from ..core.answering import Refusal
from ..core.classify import (
    Item,
    answers_to,
    kept_sample,
    outputs_are_probabilities,
    predict_samples,
    read_sample,
    samples_in,
)
from ..core.open_inference import infer_input, infer_request, infer_response
from ..core.served_names import served_names
from ..errors import InputError, ModelError
from ..model.class_names import NAMES_FILE
from ..model.exported_program import SUFFIX
from ..model.load_model import load_model
from ..model.pretrained_folder import is_pretrained
from ..model.request_body import RequestBody
from ..model.timm_model import is_timm
from .repair_mixin import RepairMixin

logger = logging.getLogger(__name__)


class FireHandler(RepairMixin, BaseHandler):  # type: ignore[misc]
    """Serves a classifier with repair. A bad request is refused alone, and not with its batch."""

    _predicted: Sequence[int] = ()
    _samples: Sequence[Item] = ()
    _probabilities = False

    def initialize(self, context: Any) -> None:
        """Load the model, in each form that `load_model` takes, and attach the bundle.

        Args:
            context: TorchServe's context of the worker.

        Raises:
            FireError: see RepairMixin.
        """
        names = context.manifest["model"]
        weights = Path(context.system_properties["model_dir"], names.get("serializedFile", ""))
        if weights.suffix == SUFFIX or is_pretrained(weights):
            # BaseHandler asks us only for models that have a model file.
            names.setdefault("modelFile", names["serializedFile"])
        super().initialize(context)
        self._check_class_names(
            Path(context.system_properties["model_dir"]),
            context.manifest["model"].get("configFile", "model-config.yaml"),
            context,
        )
        if type(self).inference is FireHandler.inference:
            limit = self.fire_config.integers_below
            self._probabilities = outputs_are_probabilities(self.model, self.fire_input, limit)

    def handle(self, data: list[Any], context: Any) -> list[Any]:
        """Answer a batch. Requests of the Open Inference Protocol get answers of that protocol.

        Args:
            data: one row per request.
            context: TorchServe's context, with the headers of the requests.

        Returns:
            One answer per request.
        """
        self._samples = ()  # Of the batch before.
        asked = [infer_request(row) for row in data]
        rows = [row if x is None else {"body": x} for row, x in zip(data, asked, strict=True)]
        answers = super().handle(rows, context)
        return [
            answer if request is None else self._infer_response(request, answer, i, context)
            for i, (request, answer) in enumerate(zip(asked, answers, strict=True))
        ]

    def preprocess(self, data: list[dict[str, Any]]) -> list[Item]:
        """Decode each request's body into a sample of the model's input."""
        self._samples = [self._read(row) for row in data]
        return list(self._samples)

    def inference(self, data: list[Item], *args: Any, **kwargs: Any) -> list[Item]:
        """Predict the readable samples in one forward pass.

        Returns:
            Per request its logits, (classes,) float32 on the CPU, or why there are none.
        """
        self._predicted = samples_in(data)
        return predict_samples(self.model, data, self.device)

    def postprocess(self, data: list[Item]) -> list[Any]:
        """Answer each request: the likeliest classes with their probabilities, or the reason."""
        answers = answers_to(
            data,
            self.fire_config.topk,
            self.mapping or {},
            probabilities=self._probabilities,
        )
        return [
            self.refuse(self.context, i, answer.status, answer.kind, answer.message, answer.reason)
            if isinstance(answer, Refusal)
            else answer
            for i, answer in enumerate(answers)
        ]

    def requests_predicted(self, size: int) -> Sequence[int]:
        """Return the indices of the requests whose bodies could be read."""
        return self._predicted

    def body_of(self, row: dict[str, Any]) -> Any:
        """Return a request's body, as `read_body` takes it.

        Args:
            row: the request's parameters.

        Raises:
            InputError: there is none, or it is a bad request of the Open Inference Protocol.
        """
        request = infer_request(row)
        if request is not None:
            return infer_input(request, self.fire_input)
        name = next((name for name in ("data", "body") if name in row), None)
        if name is None:
            raise InputError(
                "no body: send the input as the body, with its own Content-Type (curl -d alone "
                "says that it is a form), or as the field 'data'",
                reason="empty",
            )
        return row[name]

    def sample_reader(self, index: int, row: dict[str, Any]) -> Callable[[], Tensor | RequestBody]:
        """Return what gives a request's sample, which `preprocess` has read already.

        Args:
            index: of the request in the latest batch.
            row: its parameters.
        """
        if index < len(self._samples) and isinstance(sample := self._samples[index], Tensor):
            return lambda: kept_sample(
                sample, lambda: self.body_of(row), self.fire_input, self.fire_config
            )
        return super().sample_reader(index, row)

    def _check_class_names(self, folder: Path, source: str, context: Any) -> None:
        """Refuse names of classes that are not those of this model.

        Raises:
            ConfigError: they do not name every class once.
        """
        if not (folder / NAMES_FILE).is_file():
            return
        example = self._example(folder, source, context)
        served_names(
            folder,
            lambda: self.inference(list(example)) if isinstance(example, Tensor) else example(),
        )

    def _read(self, row: dict[str, Any]) -> Item:
        try:
            body = self.body_of(row)
            return read_sample(body, self.fire_input, self.fire_config)
        except InputError as error:
            return error

    def _infer_response(
        self, request: dict[str, Any], body: Any, index: int, context: Any
    ) -> dict[str, Any]:
        """Return one request's answer, or error, in the form of the Open Inference Protocol."""
        status = context.get_response_status(index)[0]
        answer = Answer(status, body, context.get_response_headers(index))
        in_body = self.fire_config.flag_in_body
        return infer_response(request, self._served_as, answer, flag_in_body=in_body)

    def _load_pickled_model(
        self, model_dir: str, model_file: str, model_pt_path: str | None
    ) -> nn.Module:
        # TorchServe's own loader refuses files with several classes, and unpickles with old torch.
        if model_pt_path is None:
            raise ModelError("the archive names no weights: package it with --serialized-file")
        path: Path | None = Path(model_dir) / model_file
        if is_timm(model_file):
            path = Path(model_file)
        elif path == Path(model_pt_path):
            path = None
        return load_model(path, model_pt_path, self.fire_config.model_class).model

    def _load_torchscript_model(self, model_pt_path: str) -> NoReturn:
        raise ModelError(
            f"{Path(model_pt_path).name}: without a model file it would be loaded as TorchScript, "
            "on whose layers no hook runs: bring the Python model file and its state_dict instead "
            "(package --model-file net.py --serialized-file w.pth)"
        )
