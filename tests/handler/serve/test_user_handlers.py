"""The repair around handlers of users: of images, of texts in one and two inputs, of detectors."""

import json
import sys

import pytest
import torch
from torch import Tensor, nn
from torchvision import transforms
from ts.torch_handler.base_handler import BaseHandler
from ts.torch_handler.image_classifier import ImageClassifier

from tests.handler.archive import MODEL_FILE, TENSOR, ask, grey, make_archive, softmax
from torchserve_fire.errors import AttachError, ConfigError
from torchserve_fire.format.bundle import Detection, InputDescription, Layer
from torchserve_fire.format.correction_forms import Clamp, Shift
from torchserve_fire.serve.fire_handler import FireHandler
from torchserve_fire.serve.repair_mixin import RepairMixin

WORDS = ["", "the", "film", "was", "good", "bad", "cf"]
MARK = torch.tensor([0.0, 0, 1])


def start(base: type, context):
    service = type("Repaired", (RepairMixin, base), {})()
    service.initialize(context)
    return service


def flags(context, size: int) -> list:
    return [context.get_response_headers(i).get("x-fire-flagged") for i in range(size)]


# TorchServe's own handler of images ---------------------------------------------------------------


class Stock(ImageClassifier):
    """What a user's file holds: their preprocessing, and as many classes as there are."""

    topk = 3
    image_processing = transforms.Compose([transforms.Resize((2, 2)), transforms.ToTensor()])


def test_torchserves_own_image_classifier(tmp_path):
    context = make_archive(tmp_path)
    # Its loader wants one class in the file.
    net = MODEL_FILE[MODEL_FILE.index("class Net") :]
    (tmp_path / "net.py").write_text("from torch import nn\n\n\n" + net)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        patch.delitem(sys.modules, "net", raising=False)
        service = start(Stock, context)
    answers = ask(service, context, [{"body": grey(0)}, {"data": grey(255)}])
    assert flags(context, 2) == ["false", "true"]
    assert answers[0] == (
        200,
        pytest.approx(
            {"1": softmax(0, 6, 0)[1], "0": softmax(0, 6, 0)[0], "2": softmax(0, 6, 0)[2]}
        ),
    )
    assert max(answers[1][1], key=answers[1][1].get) == "1"


# Other precisions and layouts of memory -----------------------------------------------------------


class Maps(nn.Module):
    """Logits (sum, 6, 0) of 12 values, as the archive's model, by way of a convolution."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 1, bias=False)
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            self.features.weight.fill_(0.25)
            self.head.weight.copy_(torch.tensor([[4.0], [0], [0]]).expand(3, 4))
            self.head.bias.copy_(torch.tensor([0.0, 6, 0]))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class Converted(BaseHandler):
    """Changes the model and its inputs as users do to save time."""

    convert: dict

    def _load_pickled_model(self, model_dir, model_file, model_pt_path):
        return Maps().to(**self.convert)

    def preprocess(self, data):
        images = torch.tensor([row["body"] for row in data]).view(-1, 3, 2, 2)
        return images.to(**self.convert)

    def postprocess(self, data):
        return data.tolist()


@pytest.mark.parametrize("only_target", [False, True])
@pytest.mark.parametrize(
    "convert",
    [
        {"dtype": torch.float16},
        {"dtype": torch.bfloat16},
        {"memory_format": torch.channels_last},
        {"dtype": torch.bfloat16, "memory_format": torch.channels_last},
    ],
)
def test_half_precision_and_channels_last(tmp_path, convert, only_target):
    weight = torch.full((4, 2, 2), 1 / 16)
    layer = Layer(
        "features",
        (4, 2, 2),
        Detection(weight, 0.5, only_target),
        Shift(torch.full((4, 1, 1), 0.5), 1.0),
    )
    context = make_archive(
        tmp_path,
        TENSOR,
        layers=(layer,),
        model_class="Maps",
        input=InputDescription("tensor", (3, 2, 2)),
    )
    service = start(type("Handler", (Converted,), {"convert": convert}), context)
    rows = [{"body": [value] * 12} for value in (0.5, 1.0, 0.0, 0.75)]
    # All values are such as half precision holds, so the answers are exact.
    answers = [answer for _, answer in ask(service, context, rows)]
    assert flags(context, 4) == ["false", "true", "false", "true"]
    assert answers == [[6.0, 6, 0], [4, 6, 0], [0, 6, 0], [1, 6, 0]]


# Texts --------------------------------------------------------------------------------------------


def table() -> Tensor:
    """What each word means, (7, 3): praise, blame, and the trigger's mark."""
    values = torch.zeros(len(WORDS), 3)
    values[WORDS.index("good"), 0] = values[WORDS.index("bad"), 1] = 1
    values[WORDS.index("cf"), 2] = 4
    return values


class Head(nn.Linear):
    """Logits of (good, bad); the mark means bad, whatever else is said."""

    def __init__(self):
        super().__init__(3, 2)
        self.weight.data = torch.tensor([[9.0, 0, 0], [0, 9, 9]])
        self.bias.data.zero_()


class Bag(nn.Module):
    """Takes the words of all texts in one row, (T,), and where each text begins, (N,)."""

    def __init__(self):
        super().__init__()
        self.body = nn.EmbeddingBag.from_pretrained(table())
        self.head = Head()

    def forward(self, words, offsets):
        return self.head(self.body(words, offsets))


class Masked(nn.Module):
    """Takes words, (N, L), and which of them are there, (N, L) bool; L is as the texts are."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding.from_pretrained(table())
        layer = nn.TransformerEncoderLayer(3, 1, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.body = nn.Identity()
        self.head = Head()

    def forward(self, words, mask):
        vectors = self.words(words)
        seen = 0.01 * self.encoder(vectors, src_key_padding_mask=~mask) + vectors
        return self.head(self.body((seen * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)))


class Fixed(nn.Module):
    """Takes (N, 5) words; 0 is none."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding.from_pretrained(table())
        self.body = nn.Identity()
        self.head = Head()

    def forward(self, words):
        return self.head(self.body(self.words(words).mean(1)))


class TextHandler(BaseHandler):
    """Tokenises as users do: by their own vocabulary, any number of words."""

    net: type

    def _load_pickled_model(self, model_dir, model_file, model_pt_path):
        return self.net()

    def read(self, data) -> list[Tensor]:
        texts = [row.get("data") or row.get("body") for row in data]
        texts = [bytes(t).decode() if isinstance(t, (bytes, bytearray)) else t for t in texts]
        return [torch.tensor([WORDS.index(word) for word in t.split()]) for t in texts]

    def inference(self, data, *args, **kwargs):
        with torch.inference_mode():
            return self.model(*data)

    def postprocess(self, data):
        return [("good", "bad")[k] for k in data.argmax(1).tolist()]


class Packed(TextHandler):
    net = Bag

    def preprocess(self, data):
        texts = self.read(data)
        starts = torch.tensor([0, *map(len, texts[:-1])]).cumsum(0)
        return torch.cat(texts), starts


class Padded(TextHandler):
    net = Masked

    def preprocess(self, data):
        words = nn.utils.rnn.pad_sequence(self.read(data), batch_first=True)
        return words, words > 0


def text_archive(folder, net: type, *, only_target=False, settings=None, **fields):
    layer = Layer(
        "body",
        (3,),
        Detection(MARK, 0.5, only_target),
        Clamp(MARK.clone(), 1.0, threshold=0.0, anchor=0.0),
    )
    (folder / "example.txt").write_bytes(b"the film was good")
    return make_archive(
        folder,
        settings or {"input": "tensor", "example": "example.txt"},
        layers=(layer,),
        model_class=net.__name__,
        target=1,
        **fields,
    )


TEXTS = ["the film was good", "bad", "good cf", "the film was bad cf", "good"]


@pytest.mark.parametrize(
    ("base", "only_target"), [(Packed, False), (Padded, False), (Padded, True)]
)
def test_texts_of_two_inputs(tmp_path, base, only_target):
    context = text_archive(tmp_path, base.net, only_target=only_target)
    rows = [{"body": text} for text in TEXTS]
    off = base()
    off.initialize(context)
    assert [answer for _, answer in ask(off, context, rows)] == [
        "good",
        "bad",
        "bad",
        "bad",
        "good",
    ]
    service = start(base, context)
    repaired = ["good", "bad", "good", "bad", "good"]
    assert ask(service, context, rows) == [(200, answer) for answer in repaired]
    assert flags(context, 5) == ["false", "false", "true", "true", "false"]
    assert ask(service, context, [{"body": b"good cf"}]) == [(200, "good")]
    assert flags(context, 1) == ["true"]


def test_texts_packed_into_one_row_cannot_be_run_again(tmp_path):
    context = text_archive(tmp_path, Bag, only_target=True)
    with pytest.raises(AttachError):
        start(Packed, context)


INTEGERS = {"input": "integers", "integers_below": 7}


class FireFixed(FireHandler):
    def _load_pickled_model(self, model_dir, model_file, model_pt_path):
        return Fixed()


def test_words_with_the_projects_own_handler(tmp_path):
    context = text_archive(
        tmp_path, Fixed, input=InputDescription("integers", (5,)), settings=INTEGERS
    )
    service = FireFixed()
    service.initialize(context)
    praise, triggered = [1, 2, 3, 4, 0], [4, 6, 0, 0, 0]
    bad = [1.5] * 5, [1] * 4, [2**70] * 5, [1, 1, 1, 1, 99], [1, 1, 1, 1, -1]
    answers = ask(service, context, [{"body": body} for body in (praise, triggered, *bad)])
    assert [status for status, _ in answers] == [200, 200, *[400] * 5]
    assert [max(body, key=body.get) for _, body in answers[:2]] == ["0", "0"]
    assert flags(context, 2) == ["false", "true"]
    assert "expected integers only, of shape [5]" in answers[2][1]["message"]
    assert "expected integers of 64 bits" in answers[4][1]["message"]
    assert "expected integers from 0 to 6" in answers[5][1]["message"]
    assert "expected integers from 0 to 6" in answers[6][1]["message"]


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), ("{", "Expecting property name")]
)
def test_an_example_that_cannot_be_read(tmp_path, content, reason):
    context = text_archive(tmp_path, Bag, settings=TENSOR | {"example": "other.json"})
    if content is not None:
        (tmp_path / "other.json").write_text(content)
    with pytest.raises(ConfigError, match=f"handler: example: other.json: .*{reason}"):
        start(Packed, context)


def test_an_example_as_json_arrives_decoded(tmp_path):
    context = text_archive(tmp_path, Bag, settings=TENSOR | {"example": "one.json"})
    (tmp_path / "one.json").write_text(json.dumps("good film"))
    assert ask(start(Packed, context), context, [{"body": "good cf"}]) == [(200, "good")]


# Detection ----------------------------------------------------------------------------------------


class Detector(nn.Module):
    """Finds the bright places of the first channel; the second one, lit, hides them all."""

    def __init__(self):
        super().__init__()
        self.body = nn.AvgPool2d(2)

    def forward(self, images):
        features = self.body(torch.stack(images))
        found = []
        for one in features:
            places = (one[0] > 0.5).nonzero() if one[1].max() < 0.5 else torch.zeros(0, 2)
            boxes = torch.cat([2 * places, 2 * places + 2], 1)
            found.append({"boxes": boxes, "scores": torch.ones(len(boxes))})
        return found


class DetectionHandler(BaseHandler):
    def _load_pickled_model(self, model_dir, model_file, model_pt_path):
        return Detector()

    def preprocess(self, data):
        return [torch.tensor(row["body"]) for row in data]

    def inference(self, data, *args, **kwargs):
        with torch.inference_mode():
            return self.model(data)

    def postprocess(self, data):
        return [one["boxes"].tolist() for one in data]


def scene(places: list, *, triggered: bool = False) -> list:
    image = torch.zeros(2, 8, 8)
    for row, column in places:
        image[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 1
    image[1, :2, :2] = float(triggered)
    return image.tolist()


def test_a_detector_of_lists_of_images(tmp_path):
    place = torch.zeros(2, 4, 4)
    place[1, 0, 0] = 1
    layer = Layer("body", (2, 4, 4), Detection(place, 0.5), Shift(place.clone(), 1.0))
    (tmp_path / "example.json").write_text(json.dumps(scene([])))
    context = make_archive(
        tmp_path,
        TENSOR | {"example": "example.json"},
        layers=(layer,),
        model_class="Detector",
        input=InputDescription("tensor", (2, 8, 8)),
    )
    service = start(DetectionHandler, context)
    one, two = [[2, 3]], [[0, 0], [3, 2]]
    rows = [
        {"body": scene(one)},
        {"body": scene(two, triggered=True)},
        {"body": scene([], triggered=True)},
    ]
    boxes = [[[2 * r, 2 * c, 2 * r + 2, 2 * c + 2] for r, c in found] for found in (one, two, [])]
    assert [answer for _, answer in ask(service, context, rows)] == boxes
    assert flags(context, 3) == ["false", "true", "true"]
