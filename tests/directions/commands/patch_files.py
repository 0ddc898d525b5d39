"""The net of `patch_net` as files, and folders of its images."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image


def patch_flags(folder: Path, net: nn.Module) -> list[str | Path]:
    """The flags of a net of `patch_net`, which takes images."""
    folder.mkdir()
    source = Path(__file__).parents[1] / "reconstruct" / "patch_net.py"
    (folder / "net.py").write_text(source.read_text())
    torch.save(net.state_dict(), folder / "net.pth")
    (folder / "model-config.yaml").write_text(
        "handler:\n  input: image\n  model_class: PatchNet\n  image_size: [8, 8]\n"
        "  mean: [0, 0, 0]\n  std: [1, 1, 1]\n"
    )
    return [
        *("--model-file", folder / "net.py", "--serialized-file", folder / "net.pth"),
        *("--config-file", folder / "model-config.yaml"),
    ]


def save_images(folder: Path, inputs: Tensor) -> Path:
    """Save images of the four classes in turn, one subfolder per class."""
    for i, pixels in enumerate(inputs):
        place = folder / f"class-{i % 4}"
        place.mkdir(parents=True, exist_ok=True)
        to_pil_image(pixels).save(place / f"{i:03}.png")
    return folder
