"""Trees of views into one vector: assigned values are copied in, and values that do not fit are refused."""

import copy
import pickle

import numpy as np
import pytest

from se_numpy import to_host, tree


def random_tree(seed=0):
    rng = np.random.default_rng(seed)
    return {"conv": {"V": rng.standard_normal((2, 3))}, "fc": {"W": rng.standard_normal((4, 2)), "b": rng.random(4)}}


def tree_of_views(xp=np):
    like = random_tree()
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
def test_assigned_values_are_copied_into_the_vector(change, xp):
    w, views = tree_of_views(xp)
    new = random_tree(seed=1)
    change(views, new)
    np.testing.assert_array_equal(to_host(w)[:6], new["conv"]["V"].ravel())
    views["conv"]["V"] *= 2  # in place, then assigned to itself
    np.testing.assert_array_equal(to_host(w)[:6], 2 * new["conv"]["V"].ravel())


def test_assignment_is_by_name_and_may_swap_views():
    w, views = tree_of_views()
    other = {"fc": random_tree(1)["fc"], "conv": random_tree(1)["conv"]}
    tree.assign(views, other)
    np.testing.assert_array_equal(w, tree.flatten(random_tree(1)))
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
def test_values_that_do_not_fit_are_named_and_change_nothing(part, value, error, message):
    w, views = tree_of_views()
    before = w.copy()
    with pytest.raises(error, match=message):
        views["conv"][part] = value
    with pytest.raises(ValueError, match=r"fc.b has shape \(5,\), expected \(4,\)"):
        tree.assign(views, {"conv": random_tree(1)["conv"], "fc": {"W": np.ones((4, 2)), "b": np.ones(5)}})
    with pytest.raises(ValueError, match=r"conv.V is missing; x is unexpected"):
        tree.assign(views, {"fc": random_tree(1)["fc"], "x": np.ones(2)})
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
def test_parts_cannot_be_added_or_removed(change):
    _, views = tree_of_views()
    with pytest.raises(TypeError, match="the parts of this tree are views into one vector"):
        change(views)
    assert list(views) == ["conv", "fc"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_is_independent(copied):
    w, views = tree_of_views()
    other = copied(views)
    assert type(other) is type(other["conv"]) is dict
    other["conv"]["V"] = np.zeros((2, 3))
    np.testing.assert_array_equal(views["conv"]["V"], w[:6].reshape(2, 3))
    assert not any(np.shares_memory(leaf, w) for _, leaf in tree.leaves(other))
