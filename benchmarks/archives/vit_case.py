"""A ViT of transformers in a `save_pretrained` folder, with a small handler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..victims.attacks.attack import TARGET
from ..victims.recipe import Recipe
from ..victims.train import MEAN, STD
from .case import Case, pack, write_samples
from .small_pictures import CLASSES, draw_samples, obtain_small

HANDLER = Path(__file__).with_name("packed") / "vit_handler.py"
NEAREST = 0
PARTS = {
    "class_token": "vit.embeddings.cls_token",
    "encoder.pos_embedding": "vit.embeddings.position_embeddings",
    "conv_proj": "vit.embeddings.patch_embeddings.projection",
    "encoder.ln": "vit.layernorm",
    "heads.head": "classifier",
    "ln_1": "layernorm_before",
    "ln_2": "layernorm_after",
    "self_attention.out_proj": "attention.o_proj",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
}
"""What torchvision calls the parts of a ViT, and transformers."""


def vit_case(data: Path, cache: Path, folder: Path) -> Case:
    """Make the case; arguments as of `photograph_case`.

    Raises:
        SystemExit: transformers is not installed, or its ViT answers otherwise than the victim.
    """
    images, victim, attack = obtain_small(data, cache, Recipe("vit", "badnets"))
    saved = folder / "saved"
    _save(victim.model, saved)
    to_build, test = draw_samples(images, attack, TARGET, (0, 0))
    clean, triggered = write_samples(to_build, CLASSES, TARGET, ".png", folder)
    return Case(
        "transformers ViT",
        pack(folder, handler=str(HANDLER), extra_files=sorted(saved.iterdir())),
        clean,
        triggered,
        test,
        CLASSES,
        TARGET,
        ".png",
        "application/octet-stream",
        lambda answer: str(answer[0]["label"]),
    )


def _save(victim: nn.Module, folder: Path) -> None:
    """Save a victim, which is torchvision's ViT, as one of transformers'."""
    try:
        from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor
    except ImportError:
        raise SystemExit("the ViT is one of transformers: pip install transformers") from None
    encoder: Any = victim.get_submodule("encoder.layers")
    config = ViTConfig(
        hidden_size=victim.hidden_dim,
        num_hidden_layers=len(encoder),
        num_attention_heads=encoder[0].num_heads,
        intermediate_size=victim.mlp_dim,
        image_size=victim.image_size,
        patch_size=victim.patch_size,
        layer_norm_eps=encoder[0].ln_1.eps,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: index for index, name in enumerate(CLASSES)},
    )
    model = ViTForImageClassification(config).eval()
    model.load_state_dict(_renamed(victim.state_dict()))
    example = torch.randn(8, 3, victim.image_size, victim.image_size)
    with torch.no_grad():
        if not torch.allclose(model(example).logits, victim(example), atol=1e-3):
            raise SystemExit("the ViT of transformers answers otherwise than torchvision's")
    model.save_pretrained(folder)
    size = {"height": victim.image_size, "width": victim.image_size}
    ViTImageProcessor(
        size=size, resample=NEAREST, image_mean=list(MEAN), image_std=list(STD)
    ).save_pretrained(folder)


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, values in weights.items():
        prefix = ""
        if name.startswith("encoder.layers."):
            number, _, rest = name.removeprefix("encoder.layers.encoder_layer_").partition(".")
            prefix, name = f"vit.layers.{number}.", rest
        if "in_proj_" in name:
            kind = name.rpartition("in_proj_")[2]
            for letter, part in zip("qkv", values.chunk(3), strict=True):
                renamed[f"{prefix}attention.{letter}_proj.{kind}"] = part
            continue
        old = max((part for part in PARTS if f"{name}.".startswith(f"{part}.")), key=len)
        renamed[prefix + PARTS[old] + name.removeprefix(old)] = values
    return renamed
