"""The paper's networks in PyTorch, with the parameter names of published weights.

They are written from the paper and those names, independently of this library, and compared with it in test_parity.py.
"""

from collections import OrderedDict

import torch
from torch import nn


class ConvSE(nn.Module):
    """The SE block of timm, torchvision and pretrained-models.pytorch: two 1x1 convolutions with biases."""

    def __init__(self, C, r, divisor=1):
        super().__init__()
        h = C // r if divisor == 1 else max(divisor, (C // r + divisor // 2) // divisor * divisor)
        self.fc1, self.fc2 = nn.Conv2d(C, h, 1), nn.Conv2d(h, C, 1)

    def forward(self, U):
        return U * torch.sigmoid(self.fc2(torch.relu(self.fc1(U.mean((2, 3), keepdim=True)))))


class LinearSE(nn.Module):
    """The SE block of moskomule: two linear layers without biases, in a Sequential."""

    def __init__(self, C, r):
        super().__init__()
        down, up = nn.Linear(C, C // r, bias=False), nn.Linear(C // r, C, bias=False)
        self.fc = nn.Sequential(down, nn.ReLU(), up, nn.Sigmoid())

    def forward(self, U):
        return U * self.fc(nn.functional.adaptive_avg_pool2d(U, 1).flatten(1))[:, :, None, None]


class Block(nn.Module):
    """A basic block or bottleneck with an SE block after the last batch norm, before the sum."""

    def __init__(self, C_, widths, kernels, strides, groups, se, se_name, shortcut):
        super().__init__()
        self.n, self.se_name = len(widths), se_name
        for i, (C, k, stride) in enumerate(zip(widths, kernels, strides, strict=True), start=1):
            g = groups if len(widths) == 3 and i == 2 else 1
            setattr(self, f"conv{i}", nn.Conv2d(C_, C, k, stride, k // 2, groups=g, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(C))
            C_ = C
        setattr(self, se_name, se)
        self.downsample = shortcut

    def forward(self, X):
        U = X
        for i in range(1, self.n + 1):
            U = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(U))
            U = torch.relu(U) if i < self.n else U
        U = getattr(self, self.se_name)(U)
        return torch.relu(U + (X if self.downsample is None else self.downsample(X)))


class ResNet(nn.Module):
    """A stem, layer1, layer2, ... and fc; in ``legacy`` networks the stem is layer0 and the classifier last_linear."""

    def __init__(self, blocks, block, stem, width, classes, legacy=False):
        super().__init__()
        self.names = ["layer0"] if legacy else list(stem)
        if legacy:
            self.layer0 = nn.Sequential(stem)
        else:
            for name, module in stem.items():
                setattr(self, name, module)
        C_ = width
        for s, n in enumerate(blocks, start=1):
            layer = []
            for i in range(n):
                layer.append(block(C_, s, i == 0))
                C_ = getattr(layer[-1], f"bn{layer[-1].n}").num_features
            setattr(self, f"layer{s}", nn.Sequential(*layer))
            self.names.append(f"layer{s}")
        self.last = "last_linear" if legacy else "fc"
        setattr(self, self.last, nn.Linear(C_, classes))

    def forward(self, X):
        for name in self.names:
            X = getattr(self, name)(X)
        return getattr(self, self.last)(X.mean((2, 3)))


def _projection(C_, C, stride):
    return nn.Sequential(nn.Conv2d(C_, C, 1, stride, bias=False), nn.BatchNorm2d(C))


def se_resnet50(classes, *, legacy=False, groups=1, base=64):
    """SE-ResNet-50 with the stride in the 3x3 convolution; ``legacy``: in the first 1x1, and ceil-mode pooling."""
    pool = nn.MaxPool2d(3, 2, ceil_mode=True) if legacy else nn.MaxPool2d(3, 2, 1)
    stem = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False), bn1=nn.BatchNorm2d(64), relu1=nn.ReLU(inplace=True), pool=pool
    )

    def block(C_, s, first):
        planes, stride = 64 * 2 ** (s - 1), 2 if first and s > 1 else 1
        inner = planes * base * groups // 64
        down, across = (stride, 1) if legacy and groups == 1 else (1, stride)
        shortcut = _projection(C_, 4 * planes, stride) if first else None
        return Block(
            C_, (inner, inner, 4 * planes), (1, 3, 1), (down, across, 1), groups, ConvSE(4 * planes, 16),
            "se_module" if legacy else "se", shortcut,
        )  # fmt: skip

    return ResNet((3, 4, 6, 3), block, stem, 64, classes, legacy)


def se_resnext50(classes, *, legacy=False):
    """SE-ResNeXt-50 with 32 groups, of 4 channels in the first stage."""
    return se_resnet50(classes, legacy=legacy, groups=32, base=4)


def se_resnet18(classes):
    """timm's SE-ResNet-18, with 8, 8, 16 and 32 hidden units: 64/16 = 4 is rounded to a multiple of 8."""
    stem = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, 2, 3, bias=False), bn1=nn.BatchNorm2d(64), relu=nn.ReLU(), pool=nn.MaxPool2d(3, 2, 1)
    )

    def block(C_, s, first):
        C, stride = 64 * 2 ** (s - 1), 2 if first and s > 1 else 1
        shortcut = _projection(C_, C, stride) if C_ != C else None
        return Block(C_, (C, C), (3, 3), (stride, 1), 1, ConvSE(C, 16, 8), "se", shortcut)

    return ResNet((2, 2, 2, 2), block, stem, 64, classes)


def senet154(classes, *, legacy=False, blocks=(1, 2, 1, 1), groups=8, width=8):
    """A small SENet-154; ``legacy``: the names of pretrained-models.pytorch, and ceil-mode pooling."""
    sizes, strides = (groups * width // 4, groups * width // 4, groups * width // 2), (2, 1, 1)
    convs = [
        nn.Conv2d(C_, C, 3, stride, 1, bias=False)
        for C_, C, stride in zip((3, *sizes), sizes, strides, strict=False)
    ]  # fmt: skip
    norms = [nn.BatchNorm2d(C) for C in sizes]
    if legacy:
        stem = OrderedDict()
        for i, (conv, norm) in enumerate(zip(convs, norms, strict=True), start=1):
            stem |= {f"conv{i}": conv, f"bn{i}": norm, f"relu{i}": nn.ReLU()}
        stem["pool"] = nn.MaxPool2d(3, 2, ceil_mode=True)
    else:
        deep = nn.Sequential(convs[0], norms[0], nn.ReLU(), convs[1], norms[1], nn.ReLU(), convs[2])
        stem = OrderedDict(conv1=deep, bn1=norms[2], relu=nn.ReLU(), pool=nn.MaxPool2d(3, 2, 1))

    def block(C_, s, first):
        C, stride = groups * width * 2 ** (s - 1), 2 if first and s > 1 else 1
        shortcut = None
        if first:
            k = 1 if s == 1 else 3
            shortcut = nn.Sequential(nn.Conv2d(C_, C, k, stride, k // 2, bias=False), nn.BatchNorm2d(C))
        name = "se_module" if legacy else "se"
        return Block(C_, (C // 2, C, C), (1, 3, 1), (1, stride, 1), groups, ConvSE(C, 16), name, shortcut)

    return ResNet(blocks, block, stem, sizes[-1], classes, legacy)


def cifar_se_resnet20(classes, r=4):
    """moskomule's network for small images, with 16, 32 and 64 channels."""

    def block(C_, s, first):
        C, stride = 16 * 2 ** (s - 1), 2 if first and s > 1 else 1
        shortcut = _projection(C_, C, stride) if C_ != C else None
        return Block(C_, (C, C), (3, 3), (stride, 1), 1, LinearSE(C, r), "se", shortcut)

    stem = OrderedDict(conv1=nn.Conv2d(3, 16, 3, 1, 1, bias=False), bn1=nn.BatchNorm2d(16), relu=nn.ReLU())
    return ResNet((3, 3, 3), block, stem, 16, classes)


class SEVGG16(nn.Module):
    """torchvision's vgg16_bn, whose convolutions have biases, with an SE block after each ReLU."""

    def __init__(self, classes, size):
        super().__init__()
        parts, C_ = [], 3
        for C in (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"):
            if C == "M":
                parts.append(nn.MaxPool2d(2, 2))
                continue
            parts += [nn.Conv2d(C_, C, 3, padding=1), nn.BatchNorm2d(C), nn.ReLU(inplace=True), ConvSE(C, 16)]
            C_ = C
        self.features = nn.Sequential(*parts)
        D, drop = 512 * (size // 32) ** 2, nn.Dropout(0.0)
        self.classifier = nn.Sequential(
            nn.Linear(D, 4096), nn.ReLU(), drop, nn.Linear(4096, 4096), nn.ReLU(), drop, nn.Linear(4096, classes)
        )

    def forward(self, X):
        return self.classifier(self.features(X).flatten(1))


# Channels of the four branches: 1x1; 1x1, 3x3; 1x1, two 3x3; kind of pooling, 1x1. A module whose first and last
# numbers are 0 has no such convolutions and halves the image.
BN_INCEPTION = {
    "3a": (64, (64, 64), (64, 96), "avg", 32),
    "3b": (64, (64, 96), (64, 96), "avg", 64),
    "3c": (0, (128, 160), (64, 96), "max", 0),
    "4a": (224, (64, 96), (96, 128), "avg", 128),
    "4b": (192, (96, 128), (96, 128), "avg", 128),
    "4c": (160, (128, 160), (128, 160), "avg", 128),
    "4d": (96, (128, 192), (160, 192), "avg", 128),
    "4e": (0, (128, 192), (192, 256), "max", 0),
    "5a": (352, (192, 320), (160, 224), "avg", 128),
    "5b": (352, (192, 320), (192, 224), "max", 128),
}
SMALL_INCEPTION = {
    "3a": (16, (12, 24), (4, 12), "avg", 12),
    "3b": (0, (24, 32), (12, 16), "max", 0),
    "4a": (32, (24, 48), (8, 24), "avg", 24),
    "4b": (0, (48, 64), (24, 32), "max", 0),
    "5a": (64, (48, 96), (16, 48), "avg", 48),
}


class SEInception(nn.Module):
    """BN-Inception of pretrained-models.pytorch, with flat names, biases, and an SE block after each module."""

    def __init__(self, classes, plan, r, stem):
        super().__init__()
        self.plan, self.stem, C_ = plan, stem, 3
        for name, C, k, stride in stem:
            if name:
                C_ = self._conv(name, C_, C, k, stride)
        for m, (one, three, five, _, pooled) in plan.items():
            name, stride, sizes = f"inception_{m}_", 1 if one else 2, []
            if one:
                sizes.append(self._conv(f"{name}1x1", C_, one, 1))
            self._conv(f"{name}3x3_reduce", C_, three[0], 1)
            sizes.append(self._conv(f"{name}3x3", *three, 3, stride))
            self._conv(f"{name}double_3x3_reduce", C_, five[0], 1)
            self._conv(f"{name}double_3x3_1", *five, 3)
            sizes.append(self._conv(f"{name}double_3x3_2", five[1], five[1], 3, stride))
            sizes.append(self._conv(f"{name}pool_proj", C_, pooled, 1) if pooled else C_)
            C_ = sum(sizes)
            setattr(self, f"{name}se", ConvSE(C_, r))
        self.last_linear = nn.Linear(C_, classes)

    def _conv(self, name, C_, C, k, stride=1):
        setattr(self, name, nn.Conv2d(C_, C, k, stride, k // 2))
        setattr(self, f"{name}_bn", nn.BatchNorm2d(C))
        return C

    def _run(self, name, X):
        return torch.relu(getattr(self, f"{name}_bn")(getattr(self, name)(X)))

    def forward(self, X):
        ceil = len(self.stem) > 1
        for name, *_ in self.stem:
            X = self._run(name, X) if name else nn.functional.max_pool2d(X, 3, 2, ceil_mode=True)
        for m, (one, _, _, kind, pooled) in self.plan.items():
            name, parts = f"inception_{m}_", []
            if one:
                parts.append(self._run(f"{name}1x1", X))
            parts.append(self._run(f"{name}3x3", self._run(f"{name}3x3_reduce", X)))
            inner = self._run(f"{name}double_3x3_1", self._run(f"{name}double_3x3_reduce", X))
            parts.append(self._run(f"{name}double_3x3_2", inner))
            if pooled:
                pool = getattr(nn.functional, f"{kind}_pool2d")(X, 3, 1, 1)
                parts.append(self._run(f"{name}pool_proj", pool))
            else:
                hang = {"ceil_mode": True} if ceil else {"padding": 1}
                parts.append(nn.functional.max_pool2d(X, 3, 2, **hang))
            X = getattr(self, f"{name}se")(torch.cat(parts, 1))
        return self.last_linear(X.mean((2, 3)))


def se_bn_inception(classes):
    stem = (("conv1_7x7_s2", 64, 7, 2), ("", 0, 0, 0), ("conv2_3x3_reduce", 64, 1, 1), ("conv2_3x3", 192, 3, 1))
    return SEInception(classes, BN_INCEPTION, 16, (*stem, ("", 0, 0, 0)))


def se_small_inception(classes):
    return SEInception(classes, SMALL_INCEPTION, 4, (("conv1_3x3", 32, 3, 1),))


def randomize(module, X, seed):
    """Fill parameters and running statistics with random values that do not hide mistakes, as 0 or 1 could.

    The statistics are close to those of X (N, C, H, W), and the residual branches of bottlenecks are small. Otherwise
    the network is ill-conditioned: in SENet-154, rounding errors in X change the fourth digit of PyTorch's logits.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]

    def normal(like):
        return torch.randn(like.shape, generator=generator, dtype=like.dtype)

    with torch.no_grad():
        for m in module.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.weight.copy_(1 + 0.2 * normal(m.weight))
                m.bias.copy_(0.2 * normal(m.bias))
                m.momentum = 1.0
            elif isinstance(m, nn.Conv2d | nn.Linear):
                fan_in = m.weight[0].numel()
                m.weight.copy_((2 / fan_in) ** 0.5 * normal(m.weight))
                if m.bias is not None:
                    m.bias.copy_(0.5 * normal(m.bias))
        for name, parameter in module.named_parameters():
            if name.endswith(("bn3.weight", "bn3.bias")):
                parameter.mul_(0.3)
        module.train()(X)
        for m in norms:
            m.running_mean.add_(0.2 * m.running_var.sqrt() * normal(m.running_mean))
            m.running_var.mul_(torch.exp(0.3 * normal(m.running_var)))
            m.momentum = 0.1
    return module
