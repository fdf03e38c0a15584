"""Comparison with the networks of the libraries that publish weights, if they are installed."""

import numpy as np
import pytest

from se_numpy import interop, models
from se_numpy.interop.matching import infer_settings

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

CLASSES = 11
TOLERANCE = 1e-11  # relative to the largest absolute value, as in test_parity.py
# The library, the name of its network, our name, the scheme, the height and width of the images.
PEERS = [
    ("timm", "seresnet18", "se_resnet18", "timm", 64),
    ("timm", "seresnet34", "se_resnet34", "timm", 64),
    ("timm", "seresnet50", "se_resnet50", "timm", 64),
    ("timm", "seresnext50_32x4d", "se_resnext50_32x4d", "timm", 64),
    ("timm", "legacy_seresnet50", "se_resnet50", "legacy", 65),
    ("timm", "legacy_seresnext50_32x4d", "se_resnext50_32x4d", "legacy", 65),
    ("timm", "senet154", "senet154", "timm", 64),
    ("timm", "legacy_senet154", "senet154", "legacy", 64),
    ("torchvision", "resnet34", "resnet34", "timm", 96),
    ("torchvision", "resnext50_32x4d", "resnext50_32x4d", "timm", 96),
    ("torchvision", "vgg16_bn", "vgg16", "torchvision", 224),
    ("pretrainedmodels", "bninception", "bn_inception", "inception", 224),
    ("pretrainedmodels", "se_resnet50", "se_resnet50", "legacy", 224),
]


def made(library, name):
    """Return the library's network and its number of classes."""
    module = pytest.importorskip(library)
    if library == "timm":  # without dropout, which would make training random
        return module.create_model(name, pretrained=False, num_classes=CLASSES, drop_rate=0.0), CLASSES
    if library == "torchvision":
        return getattr(module.models, name)(num_classes=CLASSES), CLASSES
    return getattr(module, name)(num_classes=1000, pretrained=None), 1000


@pytest.mark.parametrize(("library", "theirs", "ours", "scheme", "pixels"), PEERS)
def test_networks_agree_with_the_original(library, theirs, ours, scheme, pixels):
    """Compare the logits and, for timm, all gradients and running statistics of a step of training."""
    from torch_comparison import evaluation_errors, relative_error, training_errors
    from torch_networks import randomize

    module, classes = made(library, theirs)
    X_t = torch.randn(2, 3, pixels, pixels, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    source = randomize(module.double(), X_t, seed=1).state_dict()
    shape = (pixels, pixels, 3)
    assert interop.detect(source).name == scheme
    settings = infer_settings({n: tuple(t.shape) for n, t in source.items()}, ours, interop.SCHEMES[scheme], shape)
    net = models.build(ours, **settings, **({"dropout": 0.0} if ours == "senet154" else {}))
    params, state = interop.load(source, net, shape)
    X = X_t.numpy().transpose(0, 2, 3, 1).copy()
    with torch.no_grad():
        expected = module.eval()(X_t).numpy()
    assert expected.shape == (2, classes)
    measured = evaluation_errors(module, net, params, state, X_t, X)
    back = interop.dump(net, shape, params, state, scheme=scheme)
    module.load_state_dict({n: torch.from_numpy(a) for n, a in back.items()}, strict=True)
    with torch.no_grad():
        assert relative_error(module(X_t).numpy(), expected) < TOLERANCE
    if library == "timm":
        measured |= training_errors(
            module, net, params, state, X_t, X, interop.tensors(net, shape, interop.SCHEMES[scheme])
        )
    print(f"\n{library} {theirs:26}" + "  ".join(f"{what} {error:.1e}" for what, error in measured.items()), end="")
    assert max(measured.values()) < TOLERANCE, measured


def test_a_network_that_differs_from_ours_is_refused():
    """It has an additional ReLU."""
    module, _ = made("timm", "legacy_seresnet18")
    with pytest.raises(ValueError, match="additional ReLU"):
        interop.load(module.state_dict(), "se_resnet18")


def test_images_are_prepared_as_torchvision_does(tmp_path):
    transforms = pytest.importorskip("torchvision.transforms")
    Image = pytest.importorskip("PIL.Image")
    noise = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    for name, pixels in (("wide", noise), ("tall", noise.transpose(1, 0, 2)), ("small", noise[:100, :130])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        for resample in ("bilinear", "bicubic"):
            mode = transforms.InterpolationMode(resample)
            both = transforms.Compose([transforms.Resize(256, mode), transforms.CenterCrop(224)])
            expected = np.asarray(both(Image.open(tmp_path / f"{name}.png")))
            np.testing.assert_array_equal(interop.prepare(tmp_path / f"{name}.png", resample=resample), expected)
