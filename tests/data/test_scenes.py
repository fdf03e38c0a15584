"""The built-in scenes: reproducible to the bit, boxes of what is visible, and no cue that tells the scene alone."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import scenes_readout

from se_numpy.cli import main
from se_numpy.data import built_in_scenes, landscape, load
from se_numpy.data.landscape import SCENES, SIZE, ZENITH, landscapes, views
from se_numpy.data.scenes import FREQUENCY, MOST, OBJECTS, VISIBLE, Placed, draw, paint
from se_numpy.data.sprites import DRAWINGS, PALETTES, sprite

SEA, TREE = SCENES.index("sea"), OBJECTS.index("tree")


@pytest.fixture(scope="module")
def drawn():
    return draw(180, seed=3)


def test_pictures_labels_and_boxes_have_the_promised_form(drawn):
    assert (drawn.images.shape, drawn.images.dtype) == ((180, SIZE, SIZE, 3), np.uint8)
    assert (np.bincount(drawn.labels) == 30).all()
    corners = drawn.boxes.corners
    assert (corners >= 0).all()
    assert (corners <= SIZE).all()
    assert (corners == np.rint(corners)).all()
    assert set(drawn.boxes.classes) == set(range(len(OBJECTS)))
    assert 0 < np.bincount(drawn.boxes.images, minlength=180).max() <= MOST


def test_a_seed_gives_the_same_pictures_and_boxes_on_every_machine():
    found = draw(12, seed=5)
    content = b"".join(np.ascontiguousarray(a).tobytes() for a in (found.images, found.labels, found.boxes.corners))
    assert hashlib.sha256(content).hexdigest()[:16] == "a3b327d8e8588558"
    assert (draw(12, seed=6).images != found.images).any()


def test_the_data_set_has_independent_parts_with_boxes():
    data = built_in_scenes(train=30, test=30)
    assert (data.name, data.classes, data.objects, data.augment) == ("scenes", SCENES, OBJECTS, False)
    assert (data.train_images != data.test_images).any(axis=(1, 2, 3)).all()
    assert len(data.train_boxes) > 30 < len(data.test_boxes)
    assert data.loaded_from == ""
    assert built_in_scenes.__defaults__[0] == 0


def test_the_data_set_is_loaded_by_name(monkeypatch):
    whole = built_in_scenes(train=6, test=6)
    monkeypatch.setitem(load.__globals__["BUILT_IN"], "scenes", lambda: replace(whole, loaded_from="scenes"))
    assert load("scenes").train_images is whole.train_images
    with pytest.raises(ValueError, match="cannot be changed to 32x32x3; leave out --size"):
        load("scenes", size=32)


@pytest.mark.parametrize(("n", "seed", "message"), [(0, 0, "n is 0"), (3, -1, "seed is -1"), (2.5, 0, "n is 2.5")])
def test_invalid_numbers_are_refused(n, seed, message):
    with pytest.raises((ValueError, TypeError), match=message):
        draw(n, seed=seed)


@pytest.mark.slow
def test_a_run_on_scenes_is_trained_evaluated_and_resumed(monkeypatch, tmp_path):
    small = replace(built_in_scenes(train=60, test=12), loaded_from="scenes")
    monkeypatch.setitem(load.__globals__["BUILT_IN"], "scenes", lambda: small)
    run = str(tmp_path / "run")
    assert main(["train", "--data", "scenes", "--preset", "smoke", "--subset", "32", "--out", run]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["data"], config["model"], config["augment"]) == ("scenes", "se_resnet8", False)
    for command in (["evaluate", run], ["excitations", run, "--images", "12"], ["train", "--resume", run]):
        assert main(command) == 0


# ------------------------------------------------------------------------------------------------ what tells a scene


def test_only_the_zenith_and_the_details_depend_on_the_time():
    view = views(np.random.default_rng(1), np.arange(24) % 6)
    drawn = landscapes(view)[0]
    other_time = (landscapes(replace(view, night=~view.night))[0] != drawn).any((0, 2, 3))
    assert other_time[: ZENITH - 1].all()
    assert not other_time[ZENITH:].any()
    other_details = (landscapes(replace(view, bright=~view.bright))[0] != drawn).any((0, 2, 3))
    assert other_details[-20:].all()
    assert not other_details[: int(view.horizon.min()) - 8].any()


def test_bright_details_by_night_are_those_of_a_town_a_desert_or_a_forest():
    view = views(np.random.default_rng(1), np.arange(60) % 6)
    by_night = np.isin(np.array(SCENES)[view.scenes], ("town", "desert", "forest"))
    np.testing.assert_array_equal(view.bright, by_night == view.night)


def test_two_scenes_of_one_texture_have_opposite_details():
    for first in range(0, len(SCENES), 2):
        assert landscape.BRIGHT_BY_DAY[first] != landscape.BRIGHT_BY_DAY[first + 1]


def test_the_ground_begins_below_the_view_of_a_position_that_sees_the_zenith():
    """Position i of the last map of a ResNet-8 sees rows 4i - 12 to 4i + 12; those up to row 9 see row 32 at most."""
    horizon = views(np.random.default_rng(2), np.zeros(2000, np.int64)).horizon
    last = max(4 * i + 12 for i in range(16) if 4 * i - 12 < ZENITH)
    assert last < horizon.min() - 1


def test_the_number_of_objects_does_not_depend_on_the_scene_and_every_object_is_in_every_scene():
    assert len(set(FREQUENCY.sum(1))) == 1
    assert FREQUENCY.min() > 0
    assert FREQUENCY.max() / FREQUENCY.sum(1).max() < 0.4


def test_simple_readouts_do_not_tell_the_scene():
    found = scenes_readout.readouts(300, 7)
    assert 1 / 6 < found["channel means"] < 0.4
    assert 1 / 6 < found["objects (Bayes)"] < 0.4
    assert found["colour histogram"] < 0.6
    assert all(share < 0.85 for share in found.values())


# -------------------------------------------------------------------------------------------------------- the objects


def painted(objects, *, sea=False):
    """Return the canvas and the boxes of objects on an empty picture in white light."""
    canvas = np.zeros((SIZE, SIZE, 3), np.float32)
    return canvas, paint(canvas, np.zeros((SIZE, SIZE), np.float32), np.ones(3, np.float32), objects, sea=sea)


@pytest.mark.parametrize("kind", range(len(OBJECTS)))
def test_the_box_of_an_object_encloses_its_solid_pixels(kind):
    one = Placed(kind, 20, 15, 23, 7)
    solid = sprite(OBJECTS[kind], 7 // 2 % len(DRAWINGS[OBJECTS[kind]]), 23, True).sum(0) >= 0.5
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    _, [(found, box)] = painted([one])
    assert found == kind
    assert box == (20 + columns[0], 15 + rows[0], 20 + columns[-1] + 1, 15 + rows[-1] + 1)


def test_an_object_has_a_box_if_thirty_percent_of_it_are_visible():
    whole = np.count_nonzero(sprite("house", 0, 20, False).sum(0) >= 0.5)
    solid = sprite("house", 0, 20, False).sum(0) >= 0.5
    house = OBJECTS.index("house")
    for left in range(-21, -8):
        share = np.count_nonzero(solid[:, -left:]) / whole
        boxes = painted([Placed(house, left, 30, 20, 0)])[1]
        assert len(boxes) == (share >= VISIBLE), (left, share)
        assert all(box[0] == 0 for _, box in boxes)


def test_a_nearer_object_hides_one_behind_it():
    behind, front = Placed(TREE, 20, 20, 20, 0), Placed(OBJECTS.index("house"), 14, 26, 26, 0)
    boxes = painted([behind, front])[1]
    assert len(boxes) == 2
    assert boxes[0][1][3] < 20 + 20  # its trunk is hidden
    assert len(painted([behind, replace(front, top=18)])[1]) == 1


def test_the_sun_sets_behind_the_hills():
    canvas, land = np.zeros((SIZE, SIZE, 3), np.float32), np.zeros((SIZE, SIZE), np.float32)
    land[18:] = 1
    [(_, box)] = paint(canvas, land, np.ones(3, np.float32), [Placed(0, 10, 10, 12, 0)], sea=False)
    assert box == (10, 10, 22, 18)
    assert not canvas[18:].any()


def test_what_stands_in_the_wrong_element_gets_an_islet_or_a_pond():
    boat, tree = Placed(OBJECTS.index("boat"), 20, 20, 20, 0), Placed(TREE, 20, 20, 20, 0)
    for one, sea, wide in ((boat, True, False), (boat, False, True), (tree, True, True), (tree, False, False)):
        canvas, [(_, box)] = painted([one], sea=sea)
        assert canvas[:, : int(box[0]) - 2].any() == wide


@pytest.mark.parametrize("kind", OBJECTS)
def test_sprites_cover_no_pixel_twice_and_have_palettes(kind):
    for form, drawing in enumerate(DRAWINGS[kind]):
        found = sprite(kind, form, 17, False)
        assert found.shape[:2] == (len(drawing.parts), 17)
        assert found.any((1, 2)).all()
        assert found.sum(0).max() <= 1
        np.testing.assert_array_equal(sprite(kind, form, 17, True).sum(0), found.sum(0)[:, ::-1])
        assert {name for _, name in drawing.parts} <= set(PALETTES)


def test_at_most_one_sun_shines(drawn):
    suns = drawn.boxes.images[drawn.boxes.classes == 0]
    assert len(set(suns)) == len(suns) > 20
