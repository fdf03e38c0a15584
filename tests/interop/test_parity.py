"""The same numbers as PyTorch: networks with random weights, built there, loaded here, in float64.

``pytest tests/interop/test_parity.py -s -n 0`` prints what was measured.
"""

import numpy as np
import pytest

from se_numpy import interop, models, tree
from se_numpy.interop.matching import settings_of

torch = pytest.importorskip("torch")
torch_networks = pytest.importorskip("torch_networks")

CLASSES = 7
# Our name, our settings, the module, the scheme, the height and width of the images, how many.
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
SEED = 1  # one of those for which no SE block has all its hidden units off, and so no gradient
TOLERANCE = 1e-11  # as a share of an array's largest number; float64 rounds at 1e-16, and up to 160 layers add to that


def off(ours, theirs):
    """The largest difference, as a share of the largest number, which is not 0: zeros would agree too easily."""
    assert np.abs(theirs).max() > 0
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def as_state_dict(module):
    return {name: t.detach().numpy().copy() for name, t in module.state_dict().items()}


def peers(title):
    """The module, its tensors, our network with its numbers, and images for both."""
    name, settings, make, scheme, size, N = NETWORKS[title]
    X_t = torch.randn(N, 3, *size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    module, shape = torch_networks.shake(make().double(), X_t, SEED), (*size, 3)
    source = as_state_dict(module)
    assert interop.detect(source).name == scheme
    shapes = {n: a.shape for n, a in source.items()}
    net = models.build(name, **settings_of(shapes, name, interop.SCHEMES[scheme], shape), **settings)
    params, state = interop.load(source, net, shape)
    assert {a.dtype for _, a in tree.leaves(params)} == {np.dtype(np.float64)}
    return module, net, params, state, X_t, X_t.numpy().transpose(0, 2, 3, 1).copy()


def of_evaluation(module, net, params, state, X_t, X):
    with torch.no_grad():
        return {"logits, eval": off(net.forward(params, state, X)[0], module.eval()(X_t).numpy())}


def of_training(module, net, params, state, X_t, X, wanted):
    """Logits, all gradients by a random upstream one, and what the step leaves in the running statistics."""
    logits_t = module.train()(X_t)
    dlogits = np.random.default_rng(6).standard_normal(logits_t.shape)
    logits_t.backward(torch.from_numpy(dlogits))
    logits, cache = net.forward(params, state, X, train=True)
    net.update_running(state, cache)
    grads = dict(tree.leaves(net.backward(params, cache, dlogits)[1]))
    theirs = {n: p.grad.numpy() for n, p in module.named_parameters()}
    learned = [t for t in wanted if t.tree == "params"]
    # No gradient is left out on either side, but for the biases that batch norm makes useless, which are not ours.
    assert {t.ours for t in learned} == set(grads)
    assert {t.theirs for t in learned} == set(theirs) - {t.less for t in wanted}
    after, ours = as_state_dict(module), dict(tree.leaves(state))
    return {
        "logits, train": off(logits, logits_t.detach().numpy()),
        "gradients": max(off(t.form.to_theirs(grads[t.ours]), theirs[t.theirs]) for t in learned),
        "running statistics": max(
            off(ours[t.ours] + after.get(t.less, 0), after[t.theirs]) for t in wanted if t.tree == "state"
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("title", NETWORKS)
def test_the_same_numbers(title):
    module, net, params, state, X_t, X = peers(title)
    wanted = interop.tensors(net, X.shape[1:], interop.SCHEMES[NETWORKS[title][3]])
    measured = of_evaluation(module, net, params, state, X_t, X)
    measured |= of_training(module, net, params, state, X_t, X, wanted)
    print(f"\n{title:33}" + "  ".join(f"{what} {error:.1e}" for what, error in measured.items()), end="")
    assert max(measured.values()) < TOLERANCE, measured


@pytest.mark.parametrize("title", ["SE-ResNet-20", "small SE-Inception"])
def test_pytorch_loads_what_is_dumped(title):
    """Strictly, every tensor and no other, and computes the same."""
    _, _, make, scheme, *_ = NETWORKS[title]
    module, net, params, state, X_t, X = peers(title)
    back = interop.dump(net, X.shape[1:], params, state, scheme=scheme)
    other = make().double()
    other.load_state_dict({n: torch.from_numpy(a) for n, a in back.items()}, strict=True)
    with torch.no_grad():
        expected = module.eval()(X_t).numpy()
        assert off(other.eval()(X_t).numpy(), expected) < TOLERANCE
    assert off(net.forward(params, state, X)[0], expected) < TOLERANCE


def test_pytorch_reads_the_file(tmp_path):
    """Its own safetensors reader, and its own file into ours, bfloat16 included."""
    module, net, params, state, X_t, X = peers("SE-ResNet-20")
    shape = X.shape[1:]
    safetensors_torch = pytest.importorskip("safetensors.torch")
    interop.write(tmp_path / "a.safetensors", interop.dump(net, shape, params, state, scheme="moskomule"))
    other = torch_networks.cifar_se_resnet20(CLASSES).double()
    other.load_state_dict(safetensors_torch.load_file(tmp_path / "a.safetensors"), strict=True)
    with torch.no_grad():
        assert off(other.eval()(X_t).numpy(), module.eval()(X_t).numpy()) < TOLERANCE
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


class Harmful:
    """What a pickle can do: run anything."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_that_runs_something_does_not(tmp_path):
    torch.save({"conv1.weight": torch.ones(1), "x": Harmful(tmp_path / "harm")}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"bad\.pt is no \.pt file of weights"):
        interop.read(tmp_path / "bad.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("held", [[1, 2], {"epoch": 3}, {}])
def test_a_file_of_pytorch_without_weights(tmp_path, held):
    torch.save(held, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="state dict"):
        interop.read(tmp_path / "x.pt")
