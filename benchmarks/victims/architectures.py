"""The architectures: torchvision's, made slim and for small images, and what it does not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.densenet import DenseNet
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import VGG, make_layers
from torchvision.models.vision_transformer import VisionTransformer

WIDTH = 16


class SlimResNet(nn.Module):
    """A ResNet of torchvision's blocks, one in each stage, for 32x32 images."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, 3, padding=1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(WIDTH), nn.ReLU()
        blocks, inputs = [], WIDTH
        for stage in range(4):
            outputs, stride = WIDTH * 2**stage, 2 if stage else 1
            shortcut = None
            if inputs != outputs:
                conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))
            blocks.append(BasicBlock(inputs, outputs, stride, shortcut))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (N, classes), of normalised images (N, 3, H, W)."""
        x = self.blocks(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class PreActBlock(nn.Module):
    """A block of a PreAct ResNet (He et al., arXiv 1603.05027)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H / stride, W / stride)."""
        activated = self.relu(self.bn1(x))
        beside = x if self.shortcut is None else self.shortcut(activated)
        return self.conv2(self.relu(self.bn2(self.conv1(activated)))) + beside


class SlimPreActResNet(nn.Module):
    """A PreAct ResNet with one block in each stage, for 32x32 images."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = [WIDTH, *(WIDTH * 2**stage for stage in range(4))]
        self.conv1 = nn.Conv2d(3, WIDTH, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(
            *(PreActBlock(widths[i], widths[i + 1], 2 if i else 1) for i in range(4))
        )
        self.bn, self.relu = nn.BatchNorm2d(widths[-1]), nn.ReLU()
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (N, classes), of normalised images (N, 3, H, W)."""
        x = self.relu(self.bn(self.blocks(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _vgg(classes: int) -> nn.Module:
    stages = [16, 16, "M", 32, 32, "M", 64, 64, "M", 128, 128, "M"]
    model = VGG(make_layers(stages, batch_norm=True), num_classes=classes, init_weights=False)
    model.avgpool, model.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(128, classes)
    return model


def _mobilenet(classes: int) -> nn.Module:
    # Each row: expansion, channels, blocks, stride of the first.
    settings = [[1, 16, 1, 2], [4, 32, 2, 2], [4, 64, 2, 2], [4, 96, 2, 1]]
    model = MobileNetV2(classes, 0.5, settings, dropout=0.0)
    model.features[0][0].stride = (1, 1)
    return model


def _densenet(classes: int) -> nn.Module:
    model = DenseNet(12, (3, 3, 3), 24, num_classes=classes)
    model.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    model.features.pool0 = nn.Identity()
    return model


def _convnext(classes: int) -> nn.Module:
    settings = [CNBlockConfig(48, 96, 2), CNBlockConfig(96, None, 3)]
    model = ConvNeXt(settings, num_classes=classes)
    model.features[0][0] = nn.Conv2d(3, 48, 4, 4)
    return model


ARCHITECTURES: Mapping[str, Callable[[int], nn.Module]] = {
    "resnet": SlimResNet,
    "preact_resnet": SlimPreActResNet,
    "densenet": _densenet,
    "vgg": _vgg,
    "mobilenet": _mobilenet,
    "convnext": _convnext,
    "vit": lambda classes: VisionTransformer(32, 4, 4, 4, 64, 128, num_classes=classes),
}
