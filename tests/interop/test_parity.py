"""Parity with PyTorch: networks with random weights are built in PyTorch, loaded here and compared in float64.

``pytest tests/interop/test_parity.py -s -n 0`` prints the errors.
"""

import numpy as np
import pytest

from se_numpy import interop, models, tree
from se_numpy.interop.matching import infer_settings

torch = pytest.importorskip("torch")
torch_networks = pytest.importorskip("torch_networks")
torch_comparison = pytest.importorskip("torch_comparison")
as_state_dict, relative_error = torch_comparison.as_state_dict, torch_comparison.relative_error

CLASSES = 7
SENET = {"blocks": (1, 2, 1, 1), "cardinality": 8, "width": 8, "dropout": 0.0}
# Our name and settings, the PyTorch module, the scheme, the height and width of the images, and the number of images.
NETWORKS = {
    "SE-ResNet-50, stride in the 3x3": (
        "se_resnet50", {}, lambda: torch_networks.se_resnet50(CLASSES), "timm", (64, 64), 2,
    ),
    "SE-ResNet-50, stride in the 1x1": (
        "se_resnet50", {}, lambda: torch_networks.se_resnet50(CLASSES, legacy=True), "legacy", (64, 70), 2,
    ),
    "SE-ResNeXt-50": (
        "se_resnext50_32x4d", {}, lambda: torch_networks.se_resnext50(CLASSES), "timm", (64, 64), 2,
    ),
    "legacy SE-ResNeXt-50": (
        "se_resnext50_32x4d", {}, lambda: torch_networks.se_resnext50(CLASSES, legacy=True), "legacy", (64, 70), 2,
    ),
    "SE-ResNet-18, rounded hidden units": (
        "se_resnet18", {}, lambda: torch_networks.se_resnet18(CLASSES), "timm", (33, 40), 2,
    ),
    "small SENet-154": (
        "senet154", SENET, lambda: torch_networks.senet154(CLASSES), "timm", (64, 64), 2,
    ),
    "legacy small SENet-154": (
        "senet154", SENET, lambda: torch_networks.senet154(CLASSES, legacy=True), "legacy", (64, 70), 2,
    ),
    "SE-ResNet-20": (
        "se_resnet20", {}, lambda: torch_networks.cifar_se_resnet20(CLASSES), "moskomule", (32, 28), 3,
    ),
    "SE-VGG-16": (
        "se_vgg16", {"dropout": 0.0}, lambda: torch_networks.SEVGG16(CLASSES, 64), "torchvision", (64, 64), 2,
    ),
    "SE-BN-Inception": (
        "se_bn_inception", {}, lambda: torch_networks.se_bn_inception(CLASSES), "inception", (64, 96), 2,
    ),
    "small SE-Inception": (
        "se_small_inception", {}, lambda: torch_networks.se_small_inception(CLASSES), "inception", (16, 20), 3,
    ),
}  # fmt: skip
SEED = 1  # with other seeds, all hidden units of an SE block may be zero, so it has no gradient
TOLERANCE = 1e-11  # relative to the largest absolute value; rounding of 1e-16 accumulates over up to 160 layers


def peers(title):
    """Return the module, our network, its parameters and state, and images for both."""
    name, settings, make, scheme, size, N = NETWORKS[title]
    X_t = torch.randn(N, 3, *size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    module, shape = torch_networks.randomize(make().double(), X_t, SEED), (*size, 3)
    source = as_state_dict(module)
    assert interop.detect(source).name == scheme
    shapes = {n: a.shape for n, a in source.items()}
    net = models.build(name, **infer_settings(shapes, name, interop.SCHEMES[scheme], shape), **settings)
    params, state = interop.load(source, net, shape)
    assert {a.dtype for _, a in tree.leaves(params)} == {np.dtype(np.float64)}
    return module, net, params, state, X_t, X_t.numpy().transpose(0, 2, 3, 1).copy()


@pytest.mark.slow
@pytest.mark.parametrize("title", NETWORKS)
def test_networks_agree(title):
    module, net, params, state, X_t, X = peers(title)
    wanted = interop.tensors(net, X.shape[1:], interop.SCHEMES[NETWORKS[title][3]])
    measured = torch_comparison.evaluation_errors(module, net, params, state, X_t, X)
    measured |= torch_comparison.training_errors(module, net, params, state, X_t, X, wanted)
    print(f"\n{title:33}" + "  ".join(f"{quantity} {error:.1e}" for quantity, error in measured.items()), end="")
    assert max(measured.values()) < TOLERANCE, measured


@pytest.mark.parametrize("title", ["SE-ResNet-20", "small SE-Inception"])
def test_pytorch_loads_a_dumped_state_dict(title):
    """It loads with strict=True, and the network computes the same outputs."""
    _, _, make, scheme, *_ = NETWORKS[title]
    module, net, params, state, X_t, X = peers(title)
    back = interop.dump(net, X.shape[1:], params, state, scheme=scheme)
    other = make().double()
    other.load_state_dict({n: torch.from_numpy(a) for n, a in back.items()}, strict=True)
    with torch.no_grad():
        expected = module.eval()(X_t).numpy()
        assert relative_error(other.eval()(X_t).numpy(), expected) < TOLERANCE
    assert relative_error(net.forward(params, state, X)[0], expected) < TOLERANCE


def test_files_are_exchanged_with_pytorch(tmp_path):
    """PyTorch reads our .safetensors files, and we read PyTorch's files, including bfloat16."""
    module, net, params, state, X_t, X = peers("SE-ResNet-20")
    shape = X.shape[1:]
    safetensors_torch = pytest.importorskip("safetensors.torch")
    interop.write(tmp_path / "a.safetensors", interop.dump(net, shape, params, state, scheme="moskomule"))
    other = torch_networks.cifar_se_resnet20(CLASSES).double()
    other.load_state_dict(safetensors_torch.load_file(tmp_path / "a.safetensors"), strict=True)
    with torch.no_grad():
        assert relative_error(other.eval()(X_t).numpy(), module.eval()(X_t).numpy()) < TOLERANCE
    for wrapped, path in ((module.state_dict(), "a.pt"), ({"state_dict": module.state_dict(), "epoch": 3}, "b.pth")):
        torch.save(wrapped, tmp_path / path)
        back, statistics = interop.load(tmp_path / path, net, shape)
        assert_same(back, params)
        assert_same(statistics, state)
    half = {n: t.bfloat16() if t.is_floating_point() else t for n, t in module.state_dict().items()}
    expected = {n: t.float().numpy() for n, t in half.items()}
    safetensors_torch.save_file(half, tmp_path / "half.safetensors")
    torch.save(half, tmp_path / "half.bin")
    for source in (tmp_path / "half.safetensors", tmp_path / "half.bin", half):
        back, _ = interop.load(source, net, shape)
        assert_same(back, interop.load(expected, net, shape)[0])
        assert back["classifier"]["W"].dtype == np.float32


def assert_same(ours, expected):
    for (name, a), (_, b) in zip(tree.leaves(ours), tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


class Malicious:
    """An object that opens a file for writing when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_code_in_a_pickle_is_not_executed(tmp_path):
    torch.save({"conv1.weight": torch.ones(1), "x": Malicious(tmp_path / "executed")}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad\.pt holds a call of io\.open, which is code, so it is not read"):
        interop.read(tmp_path / "bad.pt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("held", [[1, 2], {"epoch": 3}, {}])
def test_a_pytorch_file_without_weights(tmp_path, held):
    torch.save(held, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="state dict"):
        interop.read(tmp_path / "x.pt")
