"""What an installed torchserve-fire must be able to do, with nothing beside it.

check_release.py runs it. It imports nothing of the checkout, and runs in a folder of its own: from
digits to a repaired answer in Python, then what the commands do without an extra.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

import torchserve_fire
import torchserve_fire_build
from torchserve_fire import attach, load_bundle, save_bundle
from torchserve_fire_build import TensorSamples, build_bundle
from torchserve_fire_build.demo import digits, train, trigger

COMMAND = str(Path(sys.executable).with_name("torchserve-fire"))
SHARE = Path(sysconfig.get_path("data")) / "share" / "torchserve-fire"


def main() -> None:
    """Fail at the first thing that does not work."""
    check_files()
    repair_digits(Path("digits.safetensors"))
    run("--version")
    run("show", "digits.safetensors")
    key = run("keygen", "key.pem").split()[-1]
    run("sign", "digits.safetensors", "--key", "key.pem")
    run("verify", "digits.safetensors", "--trusted-key", key)
    said = run("status", expected=64)
    # Without the extra, one line says which one it is.
    if "its extra 'torchserve'" not in said or len(said.splitlines()) != 1:
        raise SystemExit(f"status without its extra: {said}")


def check_files() -> None:
    """Files that are no code are installed, and from nowhere but this environment."""
    for package in (torchserve_fire, torchserve_fire_build):
        if not Path(package.__file__ or "").is_relative_to(sys.prefix):
            raise SystemExit(f"{package.__file__}: not of this environment")
        if not files(package).joinpath("py.typed").is_file():
            raise SystemExit(f"{package.__name__}: py.typed is missing")
    template = files(torchserve_fire_build).joinpath("report/report.html.jinja")
    for path in (template, SHARE / "config.properties", SHARE / "metrics.yaml"):
        if not path.is_file():
            raise SystemExit(f"{path}: missing")


def repair_digits(path: Path) -> None:
    """Train a backdoored model, build its bundle, and see that it repairs."""
    parts = digits.split_digits(digits.load_digits(), seed=0)
    model = train.train(trigger.poison(parts.train, seed=0), seed=0)
    calibration = parts.calibration.select(np.arange(200))
    stamped = digits.Digits(trigger.stamp(calibration.images), calibration.labels)
    built = build_bundle(
        model,
        TensorSamples(train.to_inputs(calibration), calibration.labels),
        TensorSamples(train.to_inputs(stamped), calibration.labels),
    )
    save_bundle(built.bundle, path)
    attacked = trigger.with_trigger(parts.test)
    labels = torch.from_numpy(attacked.labels)
    with torch.no_grad():
        before = (model(train.to_inputs(attacked)).argmax(1) == labels).float().mean()
        with attach(model, load_bundle(path)):
            after = (model(train.to_inputs(attacked)).argmax(1) == labels).float().mean()
    print(f"triggered digits read rightly: {before:.1%}, repaired {after:.1%}")
    if before > 0.1 or after < 0.9:
        raise SystemExit("not repaired")


def run(*arguments: str, expected: int = 0) -> str:
    """Run the installed command; return what it says.

    Raises:
        SystemExit: another exit status than expected.
    """
    done = subprocess.run(  # noqa: S603 - of this environment.
        [COMMAND, *arguments], capture_output=True, text=True, check=False
    )
    said = (done.stdout + done.stderr).strip()
    if done.returncode != expected:
        raise SystemExit(f"torchserve-fire {' '.join(arguments)}: {done.returncode}: {said}")
    return said


if __name__ == "__main__":
    main()
