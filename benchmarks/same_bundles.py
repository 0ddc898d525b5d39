"""Show that a change of the code changed no bundle, and what a build costs before and after it.

    python -m benchmarks.same_bundles prepare --zoo DIR --data cifar10-jpg.zip --victims CACHE \
        --output SUBJECTS
    python -m benchmarks.same_bundles compare --before CHECKOUT --subjects SUBJECTS \
        --output same.json --rounds 5

A subject is a folder with `net.py`, `net.pth`, `model-config.yaml`, and `calibration/clean` and
`calibration/triggered`: folders of images, or `.npz` files. `prepare` writes eight of them: the
demo's digits, the models of the zoo, and four victims of the benchmark. `compare` builds a bundle
of each with the code of both checkouts, through the command, and reads the two files without any
code of the project. Its exit status is 1 where a choice differs.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from .markdown_table import markdown_table

# Torch and the project are imported where they are needed alone: `compare` has to stay small, since
# the peak memory of a process is never less than that of the one which started it.
if TYPE_CHECKING:
    from torch import Tensor

    from .victims.data import Images

SEED = 0
METADATA_KEY = "fire"
SIDES = ("before", "after")

UNITS = {"seconds": "seconds", "cpu_seconds": "CPU seconds", "megabytes": "peak MB"}
"""What is measured of a build, and the headings of the columns."""

LAYOUTS = {
    "torchserve_fire_build.commands.main": ("handler", "directions"),
    "directions.commands.main": ("",),
}
"""The module of the command, and the folders of the checkout in which its packages lie."""

NAMES = {
    "telling": "detection",
    "repairing": "correction",
    "teller": "detector",
    "weights_sha256": "weights.file_sha256",
}
"""What the metadata's fields and the parts of tensors' names are called now, by the old word."""

WORDS = {"role": {"tells": "detects"}}
"""What stands in a field now, by the old word; the fields are called as they are now."""

LACKED = {"anywhere": False, "repair": 0}
"""Fields that older files lack, and what is meant where they do."""

CHOSEN = ("strength",)
"""Fields with a number that is chosen among a few, where others are measured."""

IGNORED = ("format_version", "metadata_sha256", "tensors", "versions", "weights.state_sha256")
"""Fields that say nothing of the repair, or, being digests, nothing more."""

HELD_OUT = "held_out"
"""The field of figures, which say of a repair how good it is, and are no part of it."""

VICTIMS = (
    "badnets_anywhere-mobilenet",
    "blended-vit",
    "bpp-resnet",
    "two_triggers-preact_resnet",
)
"""Their bundles differ in kind: local, affine, a shift, and one for two targets."""

VICTIM_CLASS = '''

class Victim(nn.Module):
    """The victim, which can be made without arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ARCHITECTURES["{architecture}"]({classes})

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (N, classes), of normalised images (N, 3, H, W)."""
        return self.net(x)
'''

VICTIM_CONFIG = """\
handler:
  input: image
  image_size: {size}
  mean: {mean}
  std: {std}
"""

Numbers = npt.NDArray[Any]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_compare(commands)
    add_prepare(commands)
    args = parser.parse_args()
    args.run(args)


def add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command that compares."""
    parser = commands.add_parser("compare", help="build with the code of two checkouts, compare")
    parser.add_argument("--before", type=Path, required=True, help="checkout of the old code")
    parser.add_argument(
        "--after",
        type=Path,
        default=Path(__file__).parents[1],
        help="checkout of the new code (default: this one)",
    )
    parser.add_argument("--subjects", type=Path, required=True, help="folder that prepare wrote")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="subjects (default: all)")
    parser.add_argument("--output", type=Path, required=True, help="file for the results, JSON")
    parser.add_argument(
        "--rounds", type=int, default=3, help="builds on each side, alternating (default: 3)"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="folder for the bundles, before/SUBJECT.safetensors and after/SUBJECT.safetensors",
    )
    parser.set_defaults(run=compare)


def add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command that writes the subjects."""
    parser = commands.add_parser("prepare", help="write the subjects")
    parser.add_argument("--zoo", type=Path, required=True, help="folder, as benchmarks.zoo has it")
    parser.add_argument(
        "--data", type=Path, required=True, help="a zip of train/CLASS/* and test/CLASS/*"
    )
    parser.add_argument(
        "--victims",
        type=Path,
        required=True,
        metavar="CACHE",
        help="cache of the benchmark's victims; those that it does not hold are trained",
    )
    parser.add_argument("--output", type=Path, required=True, help="a new folder, or an empty one")
    parser.set_defaults(run=prepare)


@dataclass(frozen=True)
class Code:
    """The packages of a checkout, copied: nobody changes them while they are measured.

    Attributes:
        root: the copy.
        module: of the command.
        folders: in which Python is to look for packages.
    """

    root: Path
    module: str
    folders: tuple[Path, ...]

    @property
    def environment(self) -> dict[str, str]:
        """The variables to run it with; with one thread, sums are added up in one order."""
        path = os.pathsep.join(map(str, self.folders))
        return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Cost:
    """What a build took.

    Attributes:
        seconds: from the start of its process to the end.
        cpu_seconds: of computing; other processes disturb these less.
        megabytes: the most memory that the process had.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float


def compare(args: argparse.Namespace) -> None:
    """Build and compare the bundles of all subjects.

    Raises:
        SystemExit: a checkout or a subject is not what it should be, a build failed, or a choice
            differs.
    """
    if args.rounds < 1:
        raise SystemExit(f"--rounds {args.rounds}: expected 1 or more")
    if not args.output.parent.is_dir():
        raise SystemExit(f"--output {args.output}: no folder {args.output.parent}")
    subjects = find_subjects(args.subjects, args.names)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        checkouts = zip(SIDES, (args.before, args.after), strict=True)
        codes = {side: copy_code(checkout, work / side) for side, checkout in checkouts}
        for subject in subjects:
            rows.append(compare_subject(subject, codes, args.rounds, work))
            args.output.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
            for side in SIDES if args.keep else ():
                kept = args.keep / side / f"{subject.name}.safetensors"
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(work / f"{side}.safetensors", kept)
            print(f"{subject.name}: {verdict(rows[-1])}", flush=True)
    print(f"\n{table(rows)}", end="")
    if not all(row["same_choice"] for row in rows):
        raise SystemExit(1)


def find_subjects(folder: Path, names: list[str] | None) -> list[Path]:
    """Return the folders of the subjects.

    Raises:
        SystemExit: there are none, or none of a name.
    """
    found = {file.parent.name: file.parent.resolve() for file in folder.glob("*/net.py")}
    if not found:
        raise SystemExit(f"{folder}: expected folders with net.py, found none")
    if unknown := set(names or ()) - set(found):
        raise SystemExit(f"--names: no {', '.join(sorted(unknown))} among {', '.join(found)}")
    return [found[name] for name in sorted(names or found)]


def copy_code(checkout: Path, root: Path) -> Code:
    """Copy the packages of a checkout, and compile them, so that no build has to.

    Raises:
        SystemExit: it is no checkout of this project, or Python finds the packages elsewhere.
    """
    for module, folders in LAYOUTS.items():
        file = f"{module.replace('.', '/')}.py"
        if any((checkout / folder / file).is_file() for folder in folders):
            break
    else:
        raise SystemExit(f"{checkout}: expected a checkout with one of {', '.join(LAYOUTS)}")
    for name in ("handler", "directions"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(checkout / name, root / name, ignore=ignored)
    compileall.compile_dir(root, quiet=1)
    code = Code(root, module, tuple(root / folder for folder in folders))
    # Torch, too: its files are in memory then, before the first build is timed.
    script = f"import torch, {module} as command; print(command.__file__)"
    found = subprocess.run(  # noqa: S603 - our own interpreter.
        [sys.executable, "-c", script],
        cwd=root,
        env=code.environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()
    if not Path(found).is_relative_to(root):
        raise SystemExit(f"{checkout}: Python finds {module} in {found}")
    return code


def compare_subject(
    subject: Path, codes: Mapping[str, Code], rounds: int, work: Path
) -> dict[str, Any]:
    """Build a subject's bundles, alternating, and compare those of the last round.

    Args:
        subject: its folder.
        codes: the code of each side.
        rounds: builds on each side.
        work: folder for the bundles, `before.safetensors` and `after.safetensors`.
    """
    costs: dict[str, list[Cost]] = {side: [] for side in SIDES}
    files = {side: work / f"{side}.safetensors" for side in SIDES}
    contents: dict[str, set[bytes]] = {side: set() for side in SIDES}
    loading = []
    for _ in range(rounds):
        loading.append(load(codes["after"], subject))
        for side in SIDES:
            costs[side].append(build(codes[side], subject, files[side]))
            contents[side].add(files[side].read_bytes())
    measured = {
        unit: {side: [round(getattr(cost, unit), 2) for cost in costs[side]] for side in SIDES}
        for unit in UNITS
    }
    # Torch, and what the model's file imports, are loaded whatever the project's code does.
    floor = statistics.median(cost.cpu_seconds for cost in loading)
    cpu = {side: statistics.median(measured["cpu_seconds"][side]) - floor for side in SIDES}
    return {
        "subject": subject.name,
        "loading_cpu_seconds": round(floor, 2),
        "ratio_without_loading": round(cpu["after"] / cpu["before"], 3),
        **compare_bundles(files["before"], files["after"]),
        "repeatable": {side: len(contents[side]) == 1 for side in SIDES},
        **measured,
        "ratios": {unit: ratio(values) for unit, values in measured.items()},
    }


def load(code: Code, subject: Path) -> Cost:
    """Load torch and the model's file in a process of its own, as every build has to.

    Raises:
        SystemExit: it failed.
    """
    script = f"import torch, runpy; runpy.run_path({str(subject / 'net.py')!r})"
    return run([sys.executable, "-c", script], code, subject.name)


def build(code: Code, subject: Path, output: Path) -> Cost:
    """Run the command in a process of its own.

    Raises:
        SystemExit: it failed.
    """
    output.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", code.module, "build"),
        *("--model-file", str(subject / "net.py")),
        *("--serialized-file", str(subject / "net.pth")),
        *("--config-file", str(subject / "model-config.yaml")),
        *("--clean", str(find_samples(subject, "clean"))),
        *("--triggered", str(find_samples(subject, "triggered"))),
        *("--output", str(output), "--seed", str(SEED)),
    ]
    return run(command, code, subject.name)


def run(command: list[str], code: Code, name: str) -> Cost:
    """Run a command to its end, and measure it.

    Raises:
        SystemExit: it failed; names the subject.
    """
    with tempfile.TemporaryFile("w+") as log:
        start = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own interpreter.
            command, cwd=code.root, env=code.environment, stdout=log, stderr=log
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        # The process is waited for already, which it does not know.
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            last = "\n".join(log.read().splitlines()[-15:])
            raise SystemExit(f"{name}: {code.module}: status {process.returncode}\n{last}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def find_samples(subject: Path, kind: str) -> Path:
    """Return the folder of "clean" or "triggered" samples, or the file."""
    folder = subject / "calibration" / kind
    return folder if folder.is_dir() else folder.with_suffix(".npz")


def compare_bundles(before: Path, after: Path) -> dict[str, Any]:
    """Compare two bundles' files.

    Returns:
        For the results: whether the files are the same byte for byte, and what was chosen is the
        same; what was chosen before, and what of it `changed`; the differences of numbers and
        tensors, each relative to the largest absolute value in it, where there are any; the largest
        of them, and that of the figures of held-out samples, which do not count among the former.
    """
    choices, numbers = zip(*map(read_bundle, (before, after)), strict=True)
    changed = {
        path: [side.get(path) for side in choices]
        for path in sorted(set(choices[0]) | set(choices[1]))
        if choices[0].get(path) != choices[1].get(path)
    }
    differences = {
        path: relative_difference(numbers[0][path], numbers[1][path])
        for path in sorted(set(numbers[0]) & set(numbers[1]) - set(changed))
    }
    figures = {path for path in differences if path.startswith(f"{HELD_OUT}.")}
    return {
        "same_file": before.read_bytes() == after.read_bytes(),
        "same_choice": not changed,
        "choices": choices[0],
        "changed": changed,
        "largest_difference": max(
            (differences[path] for path in set(differences) - figures), default=0.0
        ),
        "held_out_difference": max((differences[path] for path in figures), default=0.0),
        "differences": {path: value for path, value in differences.items() if value > 0},
    }


def read_bundle(file: Path) -> tuple[dict[str, Any], dict[str, Numbers]]:
    """Return what a bundle's file says, in the words of today.

    Returns:
        What was chosen, by the path of its field, and the measured numbers and the tensors. Of
        these the former says the type and the shape.
    """
    choices: dict[str, Any] = {}
    numbers: dict[str, Numbers] = {}
    with safe_open(file, framework="numpy") as opened:
        metadata = json.loads(opened.metadata()[METADATA_KEY])
        for key in opened.keys():  # noqa: SIM118 - it is no mapping.
            parts = [NAMES.get(part, part) for part in key.split(".")]
            numbers[".".join(["tensors", *parts])] = opened.get_tensor(key)
    for name, value in metadata.items():
        for path, leaf in flatten(name, value):
            if name in IGNORED or path in IGNORED:
                continue
            if leaf == LACKED.get(path.rpartition(".")[2], ...):
                continue
            if is_measured(path, leaf):
                numbers[path] = np.asarray(leaf, dtype=np.float64)
            else:
                choices[path] = leaf
    for path, array in numbers.items():
        choices[path] = f"{array.dtype} {list(array.shape)}"
    return choices, numbers


def flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each value in a field of the metadata, with its path, both in the words of today.

    Args:
        name: of the field.
        value: a list of plain values counts as one.
    """
    name = NAMES.get(name, name)
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = [(str(i), item) for i, item in enumerate(value)]
    else:
        yield name, WORDS.get(name, {}).get(value, value) if isinstance(value, str) else value
        return
    for key, item in items:
        for path, leaf in flatten(key, item):
            yield f"{name}.{path}", leaf


def is_measured(path: str, leaf: Any) -> bool:
    """Whether a value is a measured number, or a list of such."""
    values = leaf if isinstance(leaf, list) else [leaf]
    if path.rpartition(".")[2] in CHOSEN or not values:
        return False
    return all(type(value) in (int, float) for value in values) and float in map(type, values)


def relative_difference(before: Numbers, after: Numbers) -> float:
    """Return the largest absolute difference over the largest absolute value of both."""
    first, second = (array.astype(np.float64) for array in (before, after))
    if not first.size:
        return 0.0
    scale = max(np.abs(first).max(), np.abs(second).max())
    return float(np.abs(first - second).max() / scale) if scale > 0 else 0.0


def ratio(measured: Mapping[str, list[float]]) -> float:
    """Return the median after the change over the one before it."""
    return round(statistics.median(measured["after"]) / statistics.median(measured["before"]), 3)


def verdict(row: Mapping[str, Any]) -> str:
    """Say in a line how a subject's bundles compare."""
    if row["same_file"]:
        return "the same file"
    parts = [f"largest relative difference {row['largest_difference']:.1e}"]
    parts += [
        f"{path}: {values[0]} before, {values[1]} after" for path, values in row["changed"].items()
    ]
    return f"{'the same' if row['same_choice'] else 'another'} choice; {'; '.join(parts)}"


def table(rows: list[dict[str, Any]]) -> str:
    """Return a table of all subjects."""
    headings = ["subject", "same choice", "largest relative difference", "of held-out figures"]
    headings += [heading for unit in UNITS.values() for heading in (unit, "ratio")]
    headings.append("ratio of CPU seconds without loading torch and the model's file")
    lines = []
    for row in rows:
        cells = [row["subject"], "yes" if row["same_choice"] else "no"]
        cells += [f"{row[name]:.1e}" for name in ("largest_difference", "held_out_difference")]
        for unit in UNITS:
            medians = [statistics.median(row[unit][side]) for side in SIDES]
            cells.append(" → ".join(f"{value:.1f}" for value in medians))
            cells.append(f"{row['ratios'][unit]:.3f}")
        cells.append(f"{row['ratio_without_loading']:.3f}")
        lines.append(cells)
    return markdown_table(headings, lines)


def prepare(args: argparse.Namespace) -> None:
    """Write the subjects.

    Raises:
        SystemExit: the folder is not empty, or the images, the zoo or a victim are not there.
    """
    if args.output.exists() and any(args.output.iterdir()):
        raise SystemExit(f"--output {args.output}: holds something already")
    prepare_digits(args.output / "digits")
    prepare_zoo(args.zoo, args.data, args.output)
    prepare_victims(args.data, args.victims, args.output)


def prepare_digits(folder: Path) -> None:
    """Write the demo's model and calibration images."""
    from torchserve_fire_build.demo import digit_net, digits, image_files, train, trigger
    from torchserve_fire_build.demo.digits_demo import HANDLER
    from torchserve_fire_build.demo.output_folder import config_text

    parts = digits.split_digits(digits.load_digits(), SEED)
    model = train.train(trigger.poison(parts.train, SEED), SEED)
    source = Path(digit_net.__file__).read_text()
    config = config_text(HANDLER, "repair")
    write_model(folder, source, model.state_dict(), config)
    clean, calibration = parts.calibration, folder / "calibration"
    image_files.write_images(clean, range(len(clean)), calibration / "clean")
    others = np.flatnonzero(clean.labels != trigger.TARGET).tolist()
    image_files.write_images(trigger.with_trigger(clean), others, calibration / "triggered")


def prepare_zoo(zoo: Path, data: Path, output: Path) -> None:
    """Write the zoo's models, each with the pairs that `benchmarks.zoo` builds from."""
    from .zoo import ATTACKS, PAIRED, draw_calibration, load_trigger

    with tempfile.TemporaryDirectory() as work:
        with zipfile.ZipFile(data) as archive:
            archive.extractall(work)
        for attack in ATTACKS:
            folder = output / f"zoo-{attack}"
            trigger = load_trigger(zoo / "triggers.py", attack)
            drawn = draw_calibration(Path(work), trigger, attack, f"paired {PAIRED}", SEED)
            shutil.copytree(drawn, folder / "calibration")
            shutil.copyfile(zoo / "slim_resnet18.py", folder / "net.py")
            shutil.copyfile(zoo / f"slim_resnet18_{attack}.pth", folder / "net.pth")
            shutil.copyfile(zoo / "model-config.yaml", folder / "model-config.yaml")


def prepare_victims(source: Path, cache: Path, output: Path) -> None:
    """Write victims of the benchmark, each with the pairs that it is measured with."""
    from .evidence import KINDS, draw_evidence
    from .options import named_victims
    from .victims import architectures
    from .victims.data import load_data
    from .victims.train import MEAN, STD, obtain_backdoored

    data = load_data(source, cache)
    for recipe in named_victims(VICTIMS):
        victim, attack = obtain_backdoored(recipe, data, cache)
        evidence = draw_evidence(KINDS[0], attack, data.pool, seed=SEED)
        folder = output / recipe.name
        model_class = VICTIM_CLASS.format(architecture=recipe.architecture, classes=data.classes)
        weights = {f"net.{name}": value for name, value in victim.model.state_dict().items()}
        size = list(evidence.clean.pixels.shape[-2:])
        config = VICTIM_CONFIG.format(size=size, mean=list(MEAN), std=list(STD))
        write_model(folder, Path(architectures.__file__).read_text() + model_class, weights, config)
        write_images(evidence.clean, data.classes, folder / "calibration" / "clean")
        write_images(evidence.triggered, data.classes, folder / "calibration" / "triggered")


def write_model(folder: Path, source: str, weights: Mapping[str, Tensor], config: str) -> None:
    """Write what a user brings, into a new folder."""
    import torch

    folder.mkdir(parents=True)
    (folder / "net.py").write_text(source)
    torch.save(dict(weights), folder / "net.pth")
    (folder / "model-config.yaml").write_text(config)


def write_images(images: Images, classes: int, folder: Path) -> None:
    """Write PNG files in one subfolder per class; the same place says that two are partners."""
    from PIL import Image

    for label in range(classes):
        (folder / f"{label:03d}").mkdir(parents=True)
    for i, (pixels, label) in enumerate(zip(images.pixels, images.labels.tolist(), strict=True)):
        array = pixels.permute(1, 2, 0).numpy()
        Image.fromarray(array).save(folder / f"{label:03d}" / f"{i:04d}.png")


if __name__ == "__main__":
    main()
