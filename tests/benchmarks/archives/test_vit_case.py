import pytest
import torch
from torchvision.models.vision_transformer import VisionTransformer

from benchmarks.archives.vit_case import _save

transformers = pytest.importorskip("transformers")


def test_a_vit_of_transformers_answers_as_torchvisions(tmp_path):
    torch.manual_seed(0)
    victim = VisionTransformer(16, 8, 2, 2, 8, 16, num_classes=10).eval()
    # Its head is all zeros before training.
    torch.nn.init.normal_(victim.heads.head.weight)
    _save(victim, tmp_path)
    saved = transformers.ViTForImageClassification.from_pretrained(tmp_path)
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(saved(images).logits, victim(images), atol=1e-4)
    assert saved.config.id2label[9] == "truck"
