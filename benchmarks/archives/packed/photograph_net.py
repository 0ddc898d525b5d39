"""A ResNet-18 for ten classes: the model file of the archive that image_classifier serves."""

from torchvision.models.resnet import BasicBlock, ResNet


class PhotographNet(ResNet):
    """torchvision's resnet18: images (N, 3, 224, 224) to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=10)
