"""PreActResNet-18 (He et al., Identity Mappings in Deep Residual Networks, arXiv 1603.05027)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

CLASSES = 10


class PreActBlock(nn.Module):
    """Two convolutions, each after its normalisation and activation, and a way past both."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H / stride, W / stride)."""
        active = relu(self.bn1(x))
        beside: Tensor = x if self.shortcut is None else self.shortcut(active)
        changed: Tensor = self.conv2(relu(self.bn2(self.conv1(active))))
        return beside + changed


class PreActResNet18(nn.Module):
    """Four stages of two blocks; as BackdoorBench trains it, nothing comes after the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.layer1 = nn.Sequential(PreActBlock(64, 64, 1), PreActBlock(64, 64, 1))
        self.layer2 = nn.Sequential(PreActBlock(64, 128, 2), PreActBlock(128, 128, 1))
        self.layer3 = nn.Sequential(PreActBlock(128, 256, 2), PreActBlock(256, 256, 1))
        self.layer4 = nn.Sequential(PreActBlock(256, 512, 2), PreActBlock(512, 512, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(512, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (N, classes), of normalised images (N, 3, H, W)."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        logits: Tensor = self.linear(torch.flatten(self.avgpool(x), 1))
        return logits
