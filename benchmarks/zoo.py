"""Measure build and evaluate on a folder of backdoored classifiers, through the command.

The folder holds a model file, `slim_resnet18_<attack>.pth` for each attack, `model-config.yaml`,
and `triggers.py` with a function of each attack's name that turns images (N, 3, H, W) in [0, 1]
into triggered ones. The data is a zip of CIFAR-10 as `train/CLASS/*.jpg` and `test/CLASS/*.jpg`.
Calibration samples come from `train`, figures from the whole of `test`; triggered images are 8-bit
PNG data.

    python -m benchmarks.zoo --zoo DIR --data cifar10-jpg.zip --output benchmarks/results/zoo.json

A run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from torchserve_fire.model.config import load_config
from torchserve_fire.model.load_model import load_model
from torchserve_fire_build.commands.main import main as run_command
from torchserve_fire_build.common.progress import Progress
from torchserve_fire_build.samples.open_samples import open_samples
from torchserve_fire_build.samples.predict import predict_logits

from .kept import write_json

ATTACKS = ("badnets", "blended", "wanet")
CLEAN, PAIRED, UNPAIRED = 200, 200, 50
TARGET = 0
Trigger = Callable[[Tensor], Tensor]


def main() -> None:
    """Run what is missing in the output file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    results = json.loads(args.output.read_text()) if args.output.exists() else []
    done = {(r["attack"], r["evidence"], r["seed"]) for r in results}
    todo = [
        (attack, evidence, seed)
        for seed in args.seeds
        for attack in ATTACKS
        for evidence in (f"paired {PAIRED}", f"unpaired {UNPAIRED}")
        if (attack, evidence, seed) not in done
    ]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with zipfile.ZipFile(args.data) as archive:
            archive.extractall(work)
        for attack, evidence, seed in tqdm(todo, desc="zoo"):
            results.append(run(args.zoo, work, attack, evidence, seed))
            write_json(results, args.output)


def run(zoo: Path, work: Path, attack: str, evidence: str, seed: int) -> dict[str, Any]:
    """Build and evaluate one bundle."""
    trigger = load_trigger(zoo / "triggers.py", attack)
    samples = draw_calibration(work, trigger, attack, evidence, seed)
    test = work / f"test-{attack}"
    if not test.exists():
        for file in sorted((work / "test").glob("*/*.jpg")):
            stamp(file, test / file.relative_to(work / "test"), trigger)
    model = [
        *("--model-file", str(zoo / "slim_resnet18.py")),
        *("--serialized-file", str(zoo / f"slim_resnet18_{attack}.pth")),
        *("--config-file", str(zoo / "model-config.yaml")),
    ]
    bundle, figures = samples / "bundle.safetensors", samples / "figures.json"
    start = time.monotonic()
    built_from = ["--clean", str(samples / "clean"), "--triggered", str(samples / "triggered")]
    torchserve_fire("build", *model, *built_from, "--seed", str(seed), "--output", str(bundle))
    seconds = time.monotonic() - start
    measured_on = ["--clean", str(work / "test"), "--triggered", str(test)]
    torchserve_fire(
        "evaluate", *model, "--bundle", str(bundle), *measured_on, "--json", str(figures)
    )
    return {
        "attack": attack,
        "evidence": evidence,
        "seed": seed,
        "build_seconds": round(seconds, 1),
        "bundle_bytes": bundle.stat().st_size,
        "natural_rate": natural_rate(zoo, work, attack),
        "figures": json.loads(figures.read_text()),
    }


def torchserve_fire(*arguments: str) -> None:
    """Run the command and stop where it fails."""
    if status := run_command(arguments):
        raise SystemExit(status)


def load_trigger(path: Path, attack: str) -> Trigger:
    """Return the function of the attack's name in a Python file."""
    spec = importlib.util.spec_from_file_location("zoo_triggers", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: expected a Python file with the function {attack}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Trigger = getattr(module, attack)
    return function


def draw_calibration(work: Path, trigger: Trigger, attack: str, evidence: str, seed: int) -> Path:
    """Write the clean and the triggered calibration samples; return their folder."""
    folder = work / f"calibration-{attack}-{evidence.replace(' ', '-')}-{seed}"
    files = sorted((work / "train").glob("*/*.jpg"))
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed)).tolist()
    clean = [files[i] for i in order[:CLEAN]]
    if evidence.startswith("paired"):
        triggered = clean[:PAIRED]
    else:
        # A triggered image of the target class would show no attack.
        target = sorted(p.name for p in (work / "train").iterdir())[TARGET]
        rest = [files[i] for i in order[CLEAN:] if files[i].parent.name != target]
        triggered = rest[:UNPAIRED]
    for file in clean:
        stamp(file, folder / "clean" / file.relative_to(work / "train"), lambda images: images)
    for file in triggered:
        stamp(file, folder / "triggered" / file.relative_to(work / "train"), trigger)
    return folder


def stamp(source: Path, destination: Path, trigger: Trigger) -> None:
    """Write an image with the trigger, as 8-bit PNG data under the name of its source."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(Image.open(source).convert("RGB"), dtype=np.float32) / 255
    image = trigger(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
    array = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    # The same relative path makes the pair; readers go by the content, not by the suffix.
    Image.fromarray(array).save(destination, format="PNG")


def natural_rate(zoo: Path, work: Path, attack: str) -> float:
    """Return the share of clean test images of other classes that the model calls the target."""
    config = load_config(zoo / "model-config.yaml")
    loaded = load_model(zoo / "slim_resnet18.py", zoo / f"slim_resnet18_{attack}.pth")
    samples = open_samples(work / "test", config)
    names = samples.class_names or []
    target = sorted(set(names))[TARGET]
    others = [i for i, name in enumerate(names) if name != target]
    with Progress("natural rate", len(others)) as progress:
        predicted = predict_logits(loaded.model, samples, others, progress).argmax(1)
    return float((predicted == TARGET).double().mean())


if __name__ == "__main__":
    main()
