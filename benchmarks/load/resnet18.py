"""A network of the size that is deployed. This file is also packaged as `--model-file`."""

from torchvision.models.resnet import BasicBlock, ResNet


class ResNet18(ResNet):
    """torchvision's resnet18 with ten classes: images (N, 3, 224, 224) to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=10)
