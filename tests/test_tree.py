"""Trees that live in one vector stay whole: numbers are copied in, or it is said why not."""

import copy
import pickle

import numpy as np
import pytest

from se_numpy import to_host, tree


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    return {"conv": {"V": rng.standard_normal((2, 3))}, "fc": {"W": rng.standard_normal((4, 2)), "b": rng.random(4)}}


def tied(xp=np):
    like = drawn()
    w = xp.asarray(tree.flatten(like))
    return w, tree.unflatten(w, like)


@pytest.mark.parametrize(
    "change",
    [
        lambda views, new: views["conv"].__setitem__("V", new["conv"]["V"]),
        lambda views, new: views.__setitem__("conv", new["conv"]),
        lambda views, new: views.update(new),
        lambda views, new: views["conv"].update(V=new["conv"]["V"]),
        lambda views, new: views.__ior__(new),
        lambda views, new: tree.assign(views, new),
    ],
)
def test_what_is_assigned_to_a_part_arrives_in_the_vector(change, xp):
    w, views = tied(xp)
    new = drawn(seed=1)
    change(views, new)
    np.testing.assert_array_equal(to_host(w)[:6], new["conv"]["V"].ravel())
    views["conv"]["V"] *= 2  # in place, and assigned to itself
    np.testing.assert_array_equal(to_host(w)[:6], 2 * new["conv"]["V"].ravel())


def test_the_order_of_names_does_not_matter_and_views_may_change_places():
    w, views = tied()
    other = {"fc": drawn(1)["fc"], "conv": drawn(1)["conv"]}
    tree.assign(views, other)
    np.testing.assert_array_equal(w, tree.flatten(drawn(1)))
    halves = tree.unflatten(w[:6], {"a": np.ones(3), "b": np.ones(3)})
    before = w.copy()
    tree.assign(halves, {"a": halves["b"], "b": halves["a"]})
    np.testing.assert_array_equal(w[:6], [*before[3:6], *before[:3]])


@pytest.mark.parametrize(
    ("part", "value", "error", "message"),
    [
        ("V", np.ones((3, 2)), ValueError, r"V has shape \(3, 2\), expected \(2, 3\)"),
        ("V", 1.0, ValueError, r"V has shape \(\), expected \(2, 3\)"),
        ("V", np.ones((2, 3), complex), TypeError, "V is complex128; expected an array of real numbers"),
        ("V", np.ma.array(np.ones((2, 3))), TypeError, "V is a masked array"),
        ("W", np.ones(3), ValueError, "the tree has no part 'W'; expected one of V"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_and_changes_nothing(part, value, error, message):
    w, views = tied()
    before = w.copy()
    with pytest.raises(error, match=message):
        views["conv"][part] = value
    with pytest.raises(ValueError, match=r"fc.b has shape \(5,\), expected \(4,\)"):
        tree.assign(views, {"conv": drawn(1)["conv"], "fc": {"W": np.ones((4, 2)), "b": np.ones(5)}})
    with pytest.raises(ValueError, match=r"conv.V is missing; x is left over"):
        tree.assign(views, {"fc": drawn(1)["fc"], "x": np.ones(2)})
    np.testing.assert_array_equal(w, before)


@pytest.mark.parametrize(
    "change",
    [
        lambda views: views.pop("conv"),
        lambda views: views.popitem(),
        lambda views: views.clear(),
        lambda views: views.setdefault("x", 1),
        lambda views: views.__delitem__("conv"),
    ],
)
def test_parts_stay(change):
    _, views = tied()
    with pytest.raises(TypeError, match="the parts of this tree are views into one vector"):
        change(views)
    assert list(views) == ["conv", "fc"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_is_a_tree_of_its_own(copied):
    w, views = tied()
    other = copied(views)
    assert type(other) is type(other["conv"]) is dict
    other["conv"]["V"] = np.zeros((2, 3))
    np.testing.assert_array_equal(views["conv"]["V"], w[:6].reshape(2, 3))
    assert not any(np.shares_memory(leaf, w) for _, leaf in tree.leaves(other))
