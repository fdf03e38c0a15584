"""The same networks in idiomatic PyTorch, for comparisons of speed and results.

``modules(net)`` converts a network of this library into torch modules layer by layer, so that both run the same
architecture; ``copy_weights`` copies the parameters and running statistics.
"""

import torch
from torch import nn

from se_numpy import layers


class SE(nn.Module):
    def __init__(self, C: int, r: int, bias: bool) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(C, C // r, bias=bias), nn.Linear(C // r, C, bias=bias)

    def forward(self, U):
        s = torch.sigmoid(self.fc2(torch.relu(self.fc1(U.mean((2, 3))))))
        return U * s[:, :, None, None]


class Sum(nn.Module):
    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, X):
        return sum(part(X) for part in self.parts[1:]) + self.parts[0](X)


class Concat(nn.Module):
    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, X):
        return torch.cat([part(X) for part in self.parts], 1)


class GlobalAveragePool(nn.Module):
    def forward(self, X):
        return X.mean((2, 3))


def modules(layer: layers.Layer, shape: layers.Shape) -> nn.Module:
    """Return the torch module equivalent to ``layer`` for inputs of ``shape`` (H, W, C); it is channels-first."""
    if isinstance(layer, layers.Serial):
        parts = zip(layer.parts, layer.input_shapes(shape), strict=True)
        return nn.Sequential(*(modules(part, s) for (_, part), s in parts))
    if isinstance(layer, (layers.Sum, layers.Concat)):
        kind = Sum if isinstance(layer, layers.Sum) else Concat
        return kind([modules(part, shape) for _, part in layer.parts])
    C = shape[-1]
    if isinstance(layer, layers.Conv):
        return nn.Conv2d(C, layer.C, layer.k, bias=False, **layer.hyper)
    if isinstance(layer, layers.BatchNorm):
        return nn.BatchNorm2d(C, layer.eps)
    if isinstance(layer, layers.ReLU):
        return nn.ReLU(inplace=True)
    if isinstance(layer, layers.SE):
        return SE(C, layer.reduction, layer.bias)
    if isinstance(layer, layers.GlobalAveragePool):
        return GlobalAveragePool()
    if isinstance(layer, layers.Pool):
        pool = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[layer.kind]
        return pool(layer.k, layer.stride, layer.padding, ceil_mode=layer.ceil)
    if isinstance(layer, layers.ChannelShuffle):
        return nn.ChannelShuffle(layer.groups)
    if isinstance(layer, layers.Linear):
        return nn.Linear(C, layer.K, layer.bias)
    raise TypeError(f"no torch module for {layer}")


def torch_names(layer: layers.Layer, name: str = "") -> list[tuple[str, str]]:
    """Return (our dotted name, torch's dotted name) for all parameters and running statistics."""
    if isinstance(layer, layers.Combinator):
        inner = "" if isinstance(layer, layers.Serial) else "parts."
        return [
            (f"{part}.{ours}", f"{inner}{i}.{theirs}")
            for i, (part, child) in enumerate(layer.parts)
            for ours, theirs in torch_names(child)
        ]
    return {
        layers.Conv: [("V", "weight")],
        layers.BatchNorm: [("gamma", "weight"), ("beta", "bias"), ("mean", "running_mean"), ("var", "running_var")],
        layers.SE: [("W1", "fc1.weight"), ("W2", "fc2.weight"), ("b1", "fc1.bias"), ("b2", "fc2.bias")],
        layers.Linear: [("W", "weight"), ("b", "bias")],
    }.get(type(layer), [])


def to_torch(array) -> torch.Tensor:
    """Convert an array to a tensor; filters (kh, kw, C', C) become (C, C', kh, kw)."""
    tensor = torch.from_numpy(array.copy())
    return tensor.permute(3, 2, 0, 1).contiguous() if tensor.ndim == 4 else tensor


def copy_weights(net: layers.Layer, arrays: dict[str, object], module: nn.Module) -> None:
    """Copy parameters and statistics, given by our dotted names, into the module made by ``modules(net)``."""
    theirs = dict(torch_names(net))
    target = module.state_dict()
    with torch.no_grad():
        for ours, array in arrays.items():
            target[theirs[ours]].copy_(to_torch(array))
