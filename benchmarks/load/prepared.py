"""From a model to what is served and sent: a backdoor, a bundle, archives, and images."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from model_archiver.model_archiver import ModelArchiver
from model_archiver.model_archiver_config import ModelArchiverConfig
from PIL import Image
from torch import Tensor, nn

from torchserve_fire.errors import FireError
from torchserve_fire.format.bundle import Bundle, InputDescription
from torchserve_fire.format.bundle_file import save_bundle
from torchserve_fire.model.config import HandlerConfig, load_config
from torchserve_fire.model.load_model import load_model
from torchserve_fire.model.preprocess import image_to_tensor
from torchserve_fire.repair.attach_layers import attach_layers
from torchserve_fire_build.building.from_samples import build_bundle
from torchserve_fire_build.deployment.archive.archive_name import archive_path
from torchserve_fire_build.deployment.archive.package import ArchiveInputs, package_archive
from torchserve_fire_build.samples.open_samples import open_samples

from .photographs import cut_photographs, stamp, to_jpeg
from .planted import plant_backdoor
from .subjects import Subject

PLAIN, AGAIN, REPAIRED, STOCK = "plain", "again", "repaired", "stock"
VERSION = "1.0"
CALIBRATION, SENT = 24, 32
SEED = 0


@dataclass(frozen=True)
class Prepared:
    """What is served, and sent.

    Attributes:
        store: folder with the archives `NAME-1.0.mar`.
        archives: their names: "plain" serves the model with `mode: off`, "again" is the same once
            more, "repaired" serves it with its bundle; "stock", where there is one, with
            TorchServe's own image_classifier.
        layers: where the bundle detects and repairs.
        passes: how often a flagged image goes through the network.
        clean: JPEG files of images without the trigger, none of which the bundle flags.
        triggered: those of the same images with the trigger, all of which it flags.
    """

    store: Path
    archives: tuple[str, ...]
    layers: list[str]
    passes: int
    clean: list[bytes]
    triggered: list[bytes]


def prepare(subject: Subject, folder: Path) -> Prepared:
    """Make the archives of a subject in an empty folder, and the images to send.

    Raises:
        FireError: the build found no repair, or too few images are judged as they should be.
    """
    config_file = folder / "model-config.yaml"
    config_file.write_text(f"handler: {subject.settings}\n")
    config = load_config(config_file)
    weights = _write_weights(subject, config.describe_input(), folder / "weights.pth")
    photographs = cut_photographs(CALIBRATION, subject.sent, SEED + 1)
    bundle = _build(subject, config, photographs, weights, folder)
    clean, triggered, passes = _judged_rightly(
        bundle, load_model(subject.model_file, weights).model, subject.sent
    )
    archives = _package(subject, config_file, weights, folder)
    layers = [f"{layer.name} ({layer.role})" for layer in bundle.layers]
    return Prepared(folder / "store", archives, layers, passes, clean, triggered)


def _write_weights(subject: Subject, described: InputDescription, file: Path) -> Path:
    images = cut_photographs(CALIBRATION, subject.sent, SEED)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = subject.network()
    head = model.get_submodule(subject.head)
    if not isinstance(head, nn.Linear):
        raise FireError(f"{subject.name}: {subject.head}: expected a linear layer")
    clean, triggered = (_to_batch(each, described) for each in (images, map(stamp, images)))
    plant_backdoor(model, head, clean, triggered, SEED)
    torch.save(model.state_dict(), file)
    return file


def _build(
    subject: Subject,
    config: HandlerConfig,
    images: list[Image.Image],
    weights: Path,
    folder: Path,
) -> Bundle:
    """Build the bundle as `torchserve-fire build` does, from pairs of files."""
    for kind, pictures in (("clean", images), ("triggered", [stamp(each) for each in images])):
        (folder / kind).mkdir()
        for i, picture in enumerate(pictures):
            (folder / kind / f"{i}.jpg").write_bytes(to_jpeg(picture))
    built = build_bundle(
        load_model(subject.model_file, weights),
        *(open_samples(folder / kind, config) for kind in ("clean", "triggered")),
        layers=subject.layers,
        seed=SEED,
    )
    return save_bundle(built.bundle, folder / "bundle.safetensors")


def _judged_rightly(
    bundle: Bundle, model: nn.Module, size: tuple[int, int]
) -> tuple[list[bytes], list[bytes], int]:
    """Return images judged as they should be, without and with the trigger, and the passes.

    What the bundle misses is measured elsewhere; here a share of triggered requests is to be a
    share of flagged ones.
    """
    images = cut_photographs(2 * SENT, size, SEED + 2)
    described = bundle.input
    example = torch.zeros(1, *described.shape)
    kept: list[tuple[bytes, bytes]] = []
    with (
        attach_layers(model, bundle.layers, example, target=bundle.target) as handle,
        torch.no_grad(),
    ):
        for image in images:
            pair = [image, stamp(image)]
            model(_to_batch(pair, described))
            if handle.verdict.flagged.tolist() == [False, True]:
                kept.append((to_jpeg(pair[0]), to_jpeg(pair[1])))
    if len(kept) < SENT:
        raise FireError(
            f"{len(kept)} of {len(images)} images are judged rightly with and without the trigger, "
            f"expected {SENT}"
        )
    clean, triggered = zip(*kept[:SENT], strict=True)
    return list(clean), list(triggered), handle.passes


def _package(subject: Subject, config_file: Path, weights: Path, folder: Path) -> tuple[str, ...]:
    store = folder / "store"
    store.mkdir()
    off = folder / "off" / config_file.name
    off.parent.mkdir()
    off.write_text(config_file.read_text().replace("}", ", mode: off}"))
    bundle = folder / "bundle.safetensors"
    repaired = ArchiveInputs(
        REPAIRED, VERSION, subject.model_file, weights, config_file, bundle=bundle
    )
    package_archive(repaired, store)
    plain = replace(repaired, model_name=PLAIN, config_file=off, bundle=None)
    shutil.copyfile(package_archive(plain, store), archive_path(store, AGAIN, VERSION))
    if not subject.stock:
        return (PLAIN, AGAIN, REPAIRED)
    ModelArchiver.generate_model_archive(
        ModelArchiverConfig(
            model_name=STOCK,
            handler="image_classifier",
            version=VERSION,
            serialized_file=str(weights),
            model_file=str(subject.model_file),
            export_path=str(folder),
        )
    )
    shutil.move(folder / f"{STOCK}.mar", archive_path(store, STOCK, VERSION))
    return (PLAIN, AGAIN, REPAIRED, STOCK)


def _to_batch(images: Iterable[Image.Image], described: InputDescription) -> Tensor:
    return torch.stack([image_to_tensor(to_jpeg(image), described) for image in images])
