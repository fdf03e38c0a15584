"""Tests of Grad-CAM: the equation, the choice of maps, and what the built-in set's network looks at."""

from pathlib import Path

import numpy as np
import pytest
from specimens import images, small

from se_numpy import engine, models, tree
from se_numpy.analysis.builtin_cue import cue_evidence, cue_regions, glyphs_in_sight, group_by_cue
from se_numpy.analysis.grad_cam import (
    explain,
    grad_cam,
    last_maps,
    maps_before_gates,
    mass_on,
    parts_with_maps,
    stretch,
)
from se_numpy.analysis.network import Network, load
from se_numpy.data import builtin
from se_numpy.data.batches import Normalisation
from se_numpy.data.glyphs import COLOURS
from se_numpy.layers import SE, Conv, GlobalAveragePool, Linear, Serial, init, residual, serial

TRAINED = Path(__file__).parents[2] / "tutorials" / "networks" / "se_resnet8_builtin.npz"


def split_at(network, part, pixels):
    """Return the maps of a part at the top of the network, and the function from maps to logits, in float64."""
    params = tree.map_leaves(lambda leaf: leaf.astype(np.float64), network.params)
    names = [name for name, _ in network.net.parts]
    head, tail = (
        Serial(network.net.parts[: names.index(part) + 1]),
        Serial(network.net.parts[names.index(part) + 1 :]),
    )
    A, _ = head.forward(params, {}, network.normalise(pixels, np.float64))
    return A, lambda maps: tail.forward(params, {}, maps)[0]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("part", ["conv", "unit", "relu"])
def test_the_weights_are_slopes_by_finite_differences(part, fast):
    network, pixels, h = small(), images(4), 1e-4
    A, logits = split_at(network, part, pixels)
    N, H, W, C = A.shape
    answers = logits(A).argmax(1)
    slopes = np.empty((N, C))
    for c in range(C):
        brighter = h * (np.arange(C) == c)
        slopes[:, c] = ((logits(A + brighter) - logits(A - brighter)) / (2 * h))[np.arange(N), answers]
    right = np.maximum(0, (A * slopes[:, None, None] / (H * W)).sum(-1))
    assert right.max() > 0
    if fast:
        found = explain(network, pixels, part=part)
    else:
        with engine.off():
            found = explain(network, pixels, part=part)
    assert (found.classes == answers).all()
    assert np.allclose(found.maps, right, atol=1e-4 * right.max())


def by_hand():
    """Return a network whose logits are mean red minus mean blue, and the opposite."""
    net = serial(conv=Conv(2, 1), pool=GlobalAveragePool(), linear=Linear(2))
    V = np.zeros((1, 1, 3, 2), np.float32)
    V[0, 0, 0, 0] = V[0, 0, 2, 1] = 1
    W = np.array([[1, -1], [-1, 1]], np.float32)
    params = {"conv": {"V": V}, "linear": {"W": W, "b": np.zeros(2, np.float32)}}
    return Network(
        net, params, {}, Normalisation(np.zeros(3), np.ones(3)), ("red", "blue"), (4, 3, 3), {"model": "own"}
    )


def test_a_network_whose_maps_are_known():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 3), np.uint8)
    red, blue = pixels[..., 0] / 255, pixels[..., 2] / 255
    for k, difference in enumerate((red - blue, blue - red)):
        found = explain(by_hand(), pixels, classes=np.full(5, k))
        assert found.part == "conv"
        assert np.allclose(found.maps, np.maximum(0, difference) / 12, atol=1e-6)
    answers = explain(by_hand(), pixels).classes
    assert (answers == (blue.mean((1, 2)) > red.mean((1, 2)))).all()


def test_many_images_are_explained_in_batches():
    network, pixels = small(), images(70)
    whole = explain(network, pixels)
    assert whole.maps.shape == (70, 5, 4)
    assert np.allclose(explain(network, pixels[40:50]).maps, whole.maps[40:50], atol=1e-6)


def test_stretching_interpolates_between_the_centres_of_pixels():
    assert np.allclose(stretch(np.array([[[0.0, 4.0]]]), 1, 4), [[[0, 1, 3, 4]]])
    assert np.allclose(stretch(np.full((2, 3, 5), 7.0), 32, 9), 7)
    torch = pytest.importorskip("torch")
    maps = np.random.default_rng(0).random((2, 8, 5))
    for size in ((32, 20), (17, 11)):
        other = torch.nn.functional.interpolate(torch.from_numpy(maps)[:, None], size, mode="bilinear")
        assert np.allclose(stretch(maps, *size), other[:, 0].numpy())


def test_mass_is_a_share_and_an_empty_map_has_none():
    maps, region = np.zeros((3, 2, 2)), np.array([[True, False], [False, False]])
    maps[0, 0, 0], maps[1] = 5, 1
    assert mass_on(maps, np.broadcast_to(region, maps.shape)).tolist() == [1, 0.25, 0]


@pytest.mark.parametrize("name", models.NAMES)
def test_the_last_maps_are_those_before_the_classifier(name):
    net, shape = models.build(name), models.image_shape(name)
    part = last_maps(net, shape)
    assert part in dict(net.parts)
    names = [one for one, _ in net.parts]
    shapes = dict(zip(names, net.input_shapes(shape), strict=True))
    after = names[names.index(part) + 1]
    assert after in ("pool", "hidden")  # vgg16 has fully connected layers
    assert len(shapes[after]) == 3
    before = maps_before_gates(net, shape)
    assert (before is None) == (not name.startswith("se"))
    assert list(parts_with_maps(net, shape)).index(before or part) < len(list(parts_with_maps(net, shape)))
    engine.compile(net, keep=[part, *([before] if before else [])])


def test_the_maps_before_the_first_gate():
    assert maps_before_gates(models.build("se_resnet8"), models.SMALL) == "relu"
    assert maps_before_gates(models.build("se_small_vgg"), models.SMALL) == "stage1.relu1"
    assert maps_before_gates(serial(SE(1), Conv(3)), (4, 4, 3)) is None
    ending_in_a_gate = serial(Conv(4), SE(2), GlobalAveragePool(), Linear(2))
    assert last_maps(ending_in_a_gate, (4, 4, 3)) == "conv1"  # of a block the engine keeps the gates, not the maps


def test_networks_without_maps_and_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="no part that returns maps"):
        last_maps(residual(Conv(3)), (4, 4, 3))
    network = small()
    with pytest.raises(ValueError, match="got 0 images; expected at least 1"):
        explain(network, images(0))
    for classes in ([0], [0, 4], [0, -1], [0.0, 1.0]):
        with pytest.raises(ValueError, match="expected 2 whole numbers from 0 to 3, one for each image"):
            explain(network, images(2), classes=classes)
    with pytest.raises(ValueError, match="se does not return maps"):
        explain(network, images(2), part="se")


def test_negative_weights_count_against_a_region():
    A = np.ones((1, 1, 2, 2))
    A[0, 0, 1, 1] = 5  # the second channel speaks against the class
    dA = np.broadcast_to([1.0, -0.5], A.shape)
    assert grad_cam(A, dA).tolist() == [[[0.5, 0]]]


def test_the_regions_of_strip_and_glyph_show_the_label():
    data = builtin(train=1, test=60)
    strip, glyph = cue_regions(data.test_images)
    assert strip.sum((1, 2)).tolist() == [4 * 32] * 60
    assert glyph.sum((1, 2)).tolist() == [3 * 5] * 60
    colour = group_by_cue(data.test_images).of
    assert len(COLOURS) == len(set(colour))
    assert (glyphs_in_sight(data.test_images)[np.arange(60), colour] == data.test_labels).all()
    cut = np.where(glyph[..., None] | strip[..., None], data.test_images, 128)  # the regions hold all of the cue
    assert (glyphs_in_sight(cut)[np.arange(60), colour] == data.test_labels).all()
    assert (group_by_cue(cut).of == colour).all()


def test_the_map_lights_strip_and_glyph():
    """Before the gates over half of the mass lies on strip and glyph, 14 % of the image; later, on the glyph."""
    network, data = load(TRAINED), builtin(train=1, test=100)
    first = cue_evidence(network, data.test_images, maps_before_gates(network.net, network.shape))
    assert first.area == pytest.approx((4 * 32 + 3 * 5) / 32**2)
    assert first.both > 0.5
    assert first.strip > 3.5 * first.strip_area
    assert first.glyph > 3.5 * first.glyph_area
    last = cue_evidence(network, data.test_images)
    assert last.glyph > 9 * last.glyph_area
    assert last.strip < 0.1 * last.strip_area  # the strip acts through the gates, which have no place in the image


def test_training_moves_the_map_to_strip_and_glyph():
    """Even random filters answer to what is coloured in an image of grey; the trained network does so far more."""
    data = builtin(train=1, test=100)
    trained = load(TRAINED)
    params, state = init(trained.net, trained.shape, np.random.default_rng(0))
    untrained = Network(**{**vars(trained), "params": params, "state": state})
    first, last = ([cue_evidence(network, data.test_images, part) for network in (untrained, trained)]
                   for part in ("relu", "stage3"))  # fmt: skip
    assert first[1].both > 1.4 * first[0].both
    assert last[1].glyph > 5 * last[0].glyph
    assert last[1].strip < 0.05 * last[0].strip
