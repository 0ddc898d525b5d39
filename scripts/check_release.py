"""Build the wheel and the sdist, and try them on each Python from 3.10 to 3.13 that is here.

`python3 scripts/check_release.py [FOLDER]` needs a network, 15 GB in the folder (build/release by
default), and some minutes for each Python, nearly all of them to install PyTorch. It looks for
python3.10 ... python3.13 on the PATH, and for pyenv's. An SBOM (CycloneDX) of the first
environment, and what pip-audit says of it, stay in the folder beside the distributions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "torchserve_fire": ROOT / "handler" / "torchserve_fire",
    "torchserve_fire_build": ROOT / "directions" / "torchserve_fire_build",
}
MINORS = (10, 11, 12, 13)
TOOLS = ("build", "twine", "cyclonedx-bom", "pip-audit", "pipx")


def main() -> int:
    """Print a line for each check; return the exit status."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "release").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tools = make_environment(Path(sys.executable), folder / "tools", TOOLS)
    run([tools / "python", "-m", "build", "--outdir", folder / "dist", ROOT], folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    run([tools / "twine", "check", "--strict", wheel, sdist], folder)
    failures = check_contents(wheel, sdist)
    audited = False
    for minor in MINORS:
        python = find_python(minor)
        if python is None:
            print(f"Python 3.{minor}: not found, skipped")
            continue
        # The sdist once, too: what it lacks, the wheel that is made from it lacks.
        source = wheel if audited else sdist
        try:
            place = make_environment(python, folder / f"python3.{minor}", (str(source),))
            smoke(place, folder / f"smoke3.{minor}")
        except subprocess.CalledProcessError as error:
            failures.append(f"Python 3.{minor}: {error}")
            print(failures[-1])
            continue
        print(f"Python 3.{minor}: {source.name} installs and works")
        if not audited:
            audit(tools, place, folder)
            audited = True
        shutil.rmtree(folder / f"python3.{minor}")
    failures += check_pipx(tools, wheel, folder)
    if not audited:
        failures.append("no Python from 3.10 to 3.13 was tried")
    print("\n".join(failures) or f"{wheel.name} and {sdist.name} can be released")
    return 1 if failures else 0


def find_python(minor: int) -> Path | None:
    """Return an interpreter of that version, which can make an environment."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = shutil.which(f"python3.{minor}")
    found = [*([Path(named)] if named else []), *pyenv.glob(f"3.{minor}.*/bin/python")]
    check = f"import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, {minor}))"
    for python in found:
        # Version managers put names on the PATH that run nothing.
        if subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return python
    return None


def make_environment(python: Path, place: Path, requirements: tuple[str, ...]) -> Path:
    """Make a bare environment with what is required, and return its folder of commands."""
    run([python, "-m", "venv", place], place.parent)
    pip = [place / "bin" / "python", "-m", "pip"]
    run([*pip, "install", "--quiet", "--no-compile", *requirements], place)
    run([*pip, "check"], place)
    return place / "bin"


def check_contents(wheel: Path, sdist: Path) -> list[str]:
    """Return what of the packages, or of the licence, the distributions lack, or hold besides."""
    with zipfile.ZipFile(wheel) as file:
        packed = set(file.namelist())
    with tarfile.open(sdist) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    wanted: dict[str, str] = {}
    for name, folder in PACKAGES.items():
        for path in folder.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                inside = f"{name}/{path.relative_to(folder).as_posix()}"
                wanted[inside] = path.relative_to(ROOT).as_posix()
    held = {name for name in packed if ".dist-info/" not in name and ".data/" not in name}
    said = [f"{wheel.name}: lacks {name}" for name in sorted(wanted.keys() - held)]
    said += [f"{wheel.name}: holds {name} besides" for name in sorted(held - wanted.keys())]
    if not any(name.endswith("licenses/LICENSE") for name in packed):
        said.append(f"{wheel.name}: lacks the licence")
    needed = {*wanted.values(), "LICENSE", "README.md", "config.properties", "metrics.yaml"}
    said += [f"{sdist.name}: lacks {name}" for name in sorted(needed - sources)]
    print("\n".join(said) or f"{wheel.name}: {len(wanted)} files of the packages, and the licence")
    return said


def smoke(environment: Path, folder: Path) -> None:
    """Try what is installed, in a folder of its own."""
    folder.mkdir()
    script = shutil.copy(ROOT / "scripts" / "smoke.py", folder)
    run([environment / "python", "-I", script], folder)


def audit(tools: Path, environment: Path, folder: Path) -> None:
    """Write the SBOM of an environment, and what is known against its packages.

    A vulnerability of a dependency is said, and fails nothing: it is no fault of the distribution.
    """
    sbom, report = folder / "sbom.cdx.json", folder / "audit.json"
    python = environment / "python"
    run([tools / "cyclonedx-py", "environment", "--output-file", sbom, python], folder)
    print(f"{sbom}: the packages that an installation brings")
    site = next((environment.parent / "lib").glob("python3.*")) / "site-packages"
    arguments = ["--path", site, "--format", "json", "--output", report]
    done = attempt([tools / "pip-audit", *arguments], folder)
    if report.is_file():
        said = done.stderr.strip().splitlines()[-1:] or ["nothing known"]
        print(f"{report}: {said[0]}")
    else:
        print(f"pip-audit: no result: {(done.stderr.strip().splitlines() or ['?'])[-1]}")


def check_pipx(tools: Path, wheel: Path, folder: Path) -> list[str]:
    """Return why `pipx run` does not run the command; nothing where it does."""
    places = {"PIPX_HOME": str(folder / "pipx"), "PIPX_BIN_DIR": str(folder / "pipx-bin")}
    arguments = ["run", "--spec", wheel, "torchserve-fire", "--version"]
    done = attempt([tools / "pipx", *arguments], folder, places)
    shutil.rmtree(folder / "pipx", ignore_errors=True)
    if done.returncode:
        return [f"pipx run: {done.stderr.strip()[-300:]}"]
    print(f"pipx run: {done.stdout.strip()}")
    return []


def run(command: list[str | Path], folder: Path) -> None:
    """Run a command, whose output is shown.

    Raises:
        CalledProcessError: it failed.
    """
    # Nothing of a checkout, or of whoever runs this, is to be found.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    subprocess.run(command, cwd=folder, env=environment, check=True)  # noqa: S603


def attempt(
    command: list[str | Path], folder: Path, more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that may fail, and return what it said."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(  # noqa: S603
        command,
        cwd=folder,
        env=environment | (more or {}),
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
