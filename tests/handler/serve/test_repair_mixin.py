import logging

import numpy as np
import pytest
import torch
from ts.torch_handler.base_handler import BaseHandler

from tests.handler.archive import TENSOR, ask, make_archive, make_context, state_dict
from torchserve_fire.core.worker_start import TRIAL_VARIABLE
from torchserve_fire.errors import BundleError, ConfigError, FireError, ModelError
from torchserve_fire.format.bundle import Layer
from torchserve_fire.format.bundle_file import BUNDLE_FILE
from torchserve_fire.format.correction_forms import Shift
from torchserve_fire.serve.repair_mixin import RepairMixin

BLACK, WHITE = {"body": [0.0] * 12}, {"body": [1.0] * 12}


class Theirs(BaseHandler):
    """A handler as users write them: one forward pass, one sample per request."""

    def _load_pickled_model(self, model_dir, model_file, model_pt_path):
        return make_model()

    def preprocess(self, data):
        return torch.tensor([row["body"] for row in data])

    def postprocess(self, data):
        return [int(row.argmax()) for row in data]

    def describe_handle(self):
        return {"theirs": 1, "mode": "theirs"}


class OneByOne(Theirs):
    def inference(self, data, *args, **kwargs):
        return torch.cat([self.model(row[None]) for row in data])


class Twice(Theirs):
    """Averages over two views of each request."""

    def inference(self, data, *args, **kwargs):
        return (self.model(data) + self.model(data * 0)) / 2


class Views(Theirs):
    """Puts two views of each request into one pass."""

    def inference(self, data, *args, **kwargs):
        return self.model(torch.cat([data, data]))[: len(data)]


class Aside(Theirs):
    """Answers with a model of its own, past the one that is repaired."""

    def inference(self, data, *args, **kwargs):
        return make_model()(data)


class OwnErrors(Theirs):
    def handle(self, data, context):
        answers = super().handle(data, context)
        context.set_response_status(418, "Own", 0)
        return ["own error", *answers[1:]]


class Explaining(Theirs):
    def explain_handle(self, data, raw):
        return ["explained"]


class Created(Theirs):
    """Answers with another status than 200 where all is well."""

    def handle(self, data, context):
        answers = super().handle(data, context)
        for i in range(len(data)):
            context.set_response_status(201, "Created", i)
        return answers


class Bytes(Theirs):
    def postprocess(self, data):
        return [b"raw" for _ in data]


class Short(Theirs):
    def postprocess(self, data):
        return [1]


class Modelless(Theirs):
    def initialize(self, context):
        super().initialize(context)
        self.model = None


class Scripted(Theirs):
    def _load_pickled_model(self, model_dir, model_file, model_pt_path):
        return torch.jit.trace(make_model().eval(), torch.zeros(1, 12))


class Training(Theirs):
    def initialize(self, context):
        super().initialize(context)
        self.model.train()


class Bare:
    """No BaseHandler: it has what TorchServe calls for requests, and nothing else."""

    def handle(self, data, context):
        return ["fine" for _ in data]


def failing(error: Exception) -> type:
    class Failing(Theirs):
        def initialize(self, context):
            raise error

    return Failing


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.features = torch.nn.Flatten()
        self.head = torch.nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.features(x))


def make_model() -> Net:
    model = Net()
    model.load_state_dict(state_dict())
    return model


def start(base: type, context):
    service = type("Repaired", (RepairMixin, base), {})()
    service.initialize(context)
    return service


def flags(context, size: int) -> list:
    return [context.get_response_headers(i).get("x-fire-flagged") for i in range(size)]


def with_mode(folder, mode: str, **settings):
    return make_archive(folder, TENSOR | {"mode": mode} | settings)


def test_a_users_handler_is_repaired_and_each_request_flagged(tmp_path):
    context = make_archive(tmp_path, TENSOR)
    answers = ask(start(Theirs, context), context, [WHITE, BLACK, WHITE])
    assert answers == [(200, 1)] * 3
    assert flags(context, 3) == ["true", "false", "true"]
    assert context.get_response_headers(0)["x-fire-repaired"] == "true"


def test_observe_changes_nothing(tmp_path):
    context = with_mode(tmp_path, "observe")
    assert ask(start(Theirs, context), context, [WHITE, BLACK]) == [(200, 0), (200, 1)]
    assert flags(context, 2) == ["true", "false"]
    assert context.get_response_headers(0)["x-fire-repaired"] == "false"


def test_reject_replaces_the_flagged_answers_only(tmp_path):
    context = with_mode(tmp_path, "reject")
    (status, body), black = ask(start(Theirs, context), context, [WHITE, BLACK])
    assert (status, body["type"]) == (422, "FlaggedInput")
    assert black == (200, 1)


def test_off_leaves_the_handler_alone(tmp_path):
    context = with_mode(tmp_path, "off")
    assert ask(start(Scripted, context), context, [WHITE, BLACK]) == [(200, 0), (200, 1)]
    assert flags(context, 2) == [None, None]


@pytest.mark.parametrize("base", [Twice, Views, OneByOne])
def test_a_verdict_that_fits_no_request_is_not_given(tmp_path, base, caplog):
    context = with_mode(tmp_path, "repair", flag_in_body=True)
    service = start(base, context)
    for _ in range(2):
        answers = ask(service, context, [WHITE, BLACK])
        assert [(status, body["predictions"]) for status, body in answers] == [(200, 1)] * 2
        assert flags(context, 2) == [None, None]
        assert [body["fire"]["flagged"] for _, body in answers] == [None, None]
    assert caplog.text.count("no flags are given") == 1


@pytest.mark.parametrize("base", [Twice, Views, OneByOne, Aside])
def test_a_verdict_that_fits_no_request_rejects_all(tmp_path, base):
    context = with_mode(tmp_path, "reject")
    answers = ask(start(base, context), context, [BLACK, BLACK])
    assert [(status, body["type"]) for status, body in answers] == [(500, "RepairError")] * 2


def test_an_answer_that_went_past_the_corrections_is_not_given(tmp_path):
    context = with_mode(tmp_path, "repair")
    answers = ask(start(Aside, context), context, [BLACK, WHITE])
    assert [(status, body["type"]) for status, body in answers] == [(500, "RepairError")] * 2
    context = with_mode(tmp_path, "observe")
    assert ask(start(Aside, context), context, [BLACK, WHITE]) == [(200, 1), (200, 0)]
    assert flags(context, 2) == [None, None]


def test_a_handlers_own_errors_stay_as_they_are(tmp_path):
    context = with_mode(tmp_path, "reject", flag_in_body=True)
    answers = ask(start(OwnErrors, context), context, [WHITE, WHITE, BLACK])
    assert answers[0] == (418, "own error")
    assert [status for status, _ in answers] == [418, 422, 200]


def test_bytes_are_answered_as_they_are(tmp_path):
    context = with_mode(tmp_path, "repair", flag_in_body=True)
    assert ask(start(Bytes, context), context, [WHITE]) == [(200, b"raw")]
    assert flags(context, 1) == ["true"]


def test_too_few_answers_are_left_for_torchserve_to_refuse(tmp_path):
    context = make_archive(tmp_path, TENSOR)
    service = start(Short, context)
    with pytest.raises(AssertionError):  # `ask` checks the count as TorchServe does.
        ask(service, context, [WHITE, BLACK])


def test_a_description_adds_to_the_handlers_own(tmp_path):
    context = make_archive(tmp_path, TENSOR)
    service = start(Theirs, context)
    ((status, described),) = ask(service, context, [{}], {0: {"describe": "True"}})
    assert (status, described["theirs"], described["mode"]) == (200, 1, "repair")
    headers = {i: {"describe": "True"} for i in range(3)}
    assert ask(service, context, [BLACK, WHITE, BLACK], headers) == [(200, 1)] * 3


def test_a_handler_that_cannot_be_made_is_no_runtime_error(tmp_path):
    class Unmade(Theirs):
        def __init__(self):
            raise RuntimeError("no such device")

    context = make_archive(tmp_path, TENSOR)
    with pytest.raises(ModelError, match="the handler cannot be made: no such device"):
        start(Unmade, context)


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (Modelless, "left NoneType in self.model, expected a torch.nn.Module"),
        (Bare, "the handler has no `initialize`, expected one that loads the model"),
        (Scripted, "the model is a ScriptModule"),
        (Training, "the model is in training mode"),
        (failing(RuntimeError("Error(s)\n  in loading")), "Error(s) in loading"),
        (failing(Exception("index->name")), "index->name"),
        (failing(KeyError("x")), "'x'"),
        (failing(MemoryError()), "MemoryError"),
    ],
)
def test_what_cannot_repair_does_not_start(tmp_path, caplog, base, reason):
    context = make_archive(tmp_path, TENSOR)
    with pytest.raises(FireError) as raised:
        start(base, context)
    assert not isinstance(raised.value, RuntimeError)
    (line,) = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert line.startswith("torchserve-fire does not serve model m 1.0: ")
    assert reason in line
    assert "\n" not in line


def test_weights_that_the_manifest_does_not_name(tmp_path, caplog):
    make_archive(tmp_path, TENSOR)
    context = make_context(tmp_path, {"handler": TENSOR}, serializedFile=None)
    with pytest.raises(BundleError, match="the model's are not known"):
        start(Theirs, context)
    allowed = {"handler": TENSOR | {"allow_other_weights": True}}
    start(Theirs, make_context(tmp_path, allowed, serializedFile=None))
    assert "ALLOWED" in caplog.text


def test_the_class_is_checked_whatever_the_handler_loaded(tmp_path):
    context = make_archive(tmp_path, TENSOR, model_class="Another")
    with pytest.raises(BundleError, match="built for a Another, the model is a Net"):
        start(Theirs, context)


def test_no_bundle_does_not_start(tmp_path):
    context = make_archive(tmp_path, TENSOR)
    (tmp_path / BUNDLE_FILE).unlink()
    with pytest.raises(BundleError, match=BUNDLE_FILE):
        start(Theirs, context)


# What is counted and kept.


def test_the_description_holds_what_this_worker_has_counted(tmp_path):
    context = make_archive(tmp_path, TENSOR)
    service = start(Theirs, context)
    ask(service, context, [BLACK, WHITE, WHITE])
    counts = service.describe_handle()["counts"]
    assert (counts["judged"], counts["flagged"], counts["repaired"]) == (3, 2, 2)


@pytest.mark.parametrize("kind", [Theirs, OneByOne])
def test_flagged_inputs_are_kept_where_the_configuration_says_so(tmp_path, kind):
    folder = tmp_path / "kept"
    settings = {**TENSOR, "mode": "observe", "quarantine": {"folder": str(folder)}}
    context = make_archive(tmp_path, settings)
    service = start(kind, context)
    ask(service, context, [BLACK, WHITE, WHITE])
    service._watch._quarantine.finish()
    kept = [np.load(file)["inputs"].tolist() for file in (folder / "m").iterdir()]
    # Where no request is known to be flagged, none is kept.
    assert kept == ([[[1.0] * 12]] if kind is Theirs else [])


def test_a_clients_header_does_not_ask_for_explanations(tmp_path):
    context = make_archive(tmp_path, TENSOR)
    service = start(Explaining, context)
    plain = ask(service, context, [BLACK, WHITE])
    assert ask(service, context, [BLACK, WHITE], {0: {"explain": "True"}}) == plain


def test_an_answer_of_another_good_status_is_judged_too(tmp_path):
    make_archive(tmp_path, TENSOR)
    context = with_mode(tmp_path, "reject")
    service = start(Created, context)
    assert [status for status, _ in ask(service, context, [BLACK, WHITE])] == [201, 422]


def test_a_quarantine_needs_a_layer_that_detects(tmp_path):
    layer = Layer("features", (12,), correction=Shift(torch.ones(12), 1.0))
    settings = {**TENSOR, "quarantine": {"folder": str(tmp_path / "kept")}}
    context = make_archive(tmp_path, settings, layers=(layer,))
    with pytest.raises(ConfigError, match="quarantine: needs a bundle with a layer that detects"):
        start(Theirs, context)


def test_where_an_archive_is_only_tried_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv(TRIAL_VARIABLE, "1")
    settings = {**TENSOR, "quarantine": {"folder": str(tmp_path / "kept")}}
    context = make_archive(tmp_path, settings)
    ask(start(Theirs, context), context, [WHITE])
    assert not (tmp_path / "kept").exists()
