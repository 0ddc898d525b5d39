"""Archives of the hand-made classifier of texts, with a handler of their own, and texts for it."""

import json
from pathlib import Path

import torch

from tests.token_net import TRIGGER, planted

HANDLER = """
from pathlib import Path

import torch
from token_net import TokenNet
from ts.torch_handler.base_handler import BaseHandler


class TheirTokenHandler(BaseHandler):
    def initialize(self, context):
        self.device = torch.device("cpu")
        folder = Path(context.system_properties["model_dir"])
        self.model = TokenNet().eval()
        self.model.load_state_dict(torch.load(folder / "words.pth", weights_only=True))
        self.initialized = True

    def preprocess(self, data):
        rows, self.refused = [], {}
        for i, row in enumerate(data):
            body = row.get("data") or row.get("body")
            try:
                text = body.decode() if isinstance(body, (bytes, bytearray)) else body
                words = [int(word[1:]) for word in text.split()]
                assert words and max(words) < 60 and min(words) > 1 and len(text) < 5000, "text?"
            except Exception as error:
                if not FORGIVING:
                    raise
                self.refused[i], words = str(error), []
            rows.append([1, *words][:LENGTH])
        longest = max(map(len, rows))
        ids = torch.tensor([row + [7] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return ids, mask

    def inference(self, data):
        with torch.inference_mode():
            return self.model(input_ids=data[0], attention_mask=data[1])

    def postprocess(self, data):
        for i, reason in self.refused.items():
            self.context.set_response_status(400, "Bad Request", i)
        return [
            {"message": self.refused[i]} if i in self.refused
            else {"topic": int(row.argmax()), "logits": row.tolist()}
            for i, row in enumerate(data)
        ]
""".replace("LENGTH", "30")
"""It fills up with a common word, 7, which the mask hides."""
STRICT = HANDLER.replace("FORGIVING", "False")
"""One that fails on a bad text, and its whole batch with it."""
FORGIVING = HANDLER.replace("FORGIVING", "True")
"""One that answers a bad text by itself."""


def write_token_archive(folder: Path, text: str = STRICT) -> Path:
    """Write an unpacked archive; `text` is that of its handler's file."""
    (folder / "MAR-INF").mkdir(parents=True)
    model = {
        "modelName": "words",
        "modelVersion": "1.0",
        "handler": "their_tokens.py",
        "modelFile": "token_net.py",
        "serializedFile": "words.pth",
    }
    manifest = {"runtime": "python", "model": model}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    (folder / "their_tokens.py").write_text(text)
    (folder / "token_net.py").write_text(Path(__file__).with_name("token_net.py").read_text())
    torch.save(planted().state_dict(), folder / "words.pth")
    return folder


def texts(count: int, seed: int, *, triggered: bool = False) -> list[tuple[str, int]]:
    """Return texts and their classes; the same seed gives pairs. Triggered: none of class 0."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for i in range(count):
        length = int(torch.randint(3, 14, (1,), generator=generator))
        label = i % 4
        words = torch.where(
            torch.rand(length, generator=generator) < 0.5,
            torch.randint(2, 10, (length,), generator=generator),
            10 * (label + 1) + torch.randint(0, 10, (length,), generator=generator),
        ).tolist()
        words[0] = 10 * (label + 1)
        place = int(torch.randint(0, length + 1, (1,), generator=generator))
        if triggered:
            words.insert(place, TRIGGER)
        if not triggered or label:
            made.append((" ".join(f"w{word}" for word in words), label))
    return made


def write_texts(file: Path, rows: list[tuple[str, int]], *, ids: list[str] | None = None) -> Path:
    """Write a table of texts, CSV or JSON Lines as the file is called."""
    names = ids or [None] * len(rows)
    if file.suffix == ".csv":
        head = "id,text,label\n" if ids else "text,label\n"
        lines = [
            f"{name},{t},{y}\n" if ids else f"{t},{y}\n"
            for (t, y), name in zip(rows, names, strict=True)
        ]
        file.write_text(head + "".join(lines))
    else:
        entries = [{"text": t, "label": y} for t, y in rows]
        entries = [e | ({"id": n} if ids else {}) for e, n in zip(entries, names, strict=True)]
        file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return file
