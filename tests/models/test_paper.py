"""The tables of the paper are complete, have sources, and are spot-checked."""

import pytest

from se_numpy.models import paper


def test_all_tables_are_included():
    assert [name for name in paper.tables() if name.isdigit()] == [str(i) for i in range(1, 17)]
    every = {name: paper.table(name).rows for name in paper.tables()}
    sizes = {name: (len(rows), len(next(iter(rows.values())))) for name, rows in every.items()}
    assert sizes == {
        "1": (4, 3), "2": (8, 8), "3": (2, 9), "4": (4, 2), "5": (4, 2), "6": (3, 2), "7": (4, 2), "8": (11, 4),
        "9": (6, 2), "10": (6, 3), "11": (2, 2), "12": (3, 2), "13": (5, 4), "14": (4, 2), "15": (2, 4), "16": (3, 4),
        "v1 reduction": (5, 3), "released": (7, 3), "counts": (7, 4),
    }  # fmt: skip


def test_every_number_has_a_version_and_a_source():
    about = paper.about()
    found = list(paper.numbers())
    assert len(found) == 307
    assert {n.version for n in found} <= set(about["versions"])
    assert {n.source for n in found} <= set(about["sources"])
    assert {n.version for n in found if n.table.isdigit()} == {"TPAMI"}
    assert paper.number("10", "2", "top-1").source == "v4"
    assert paper.number("10", "4", "top-1").source == "v3 and v4"


@pytest.mark.parametrize(
    ("place", "value", "digits"),
    [
        (("2", "ResNet-50", "SE top-1"), 23.29, 2),
        (("2", "ResNet-152", "GFLOPs"), 11.30, 2),
        (("3", "MobileNet", "SE MFLOPs"), 572, 0),
        (("10", "2", "top-5"), 6.00, 2),
        (("10", "16", "parameters"), 28.1, 1),
        (("11", "max", "top-1"), 22.57, 2),
        (("12", "relu", "top-1"), 23.47, 2),
        (("13", "stage 4", "top-1"), 22.68, 2),
        (("14", "identity", "top-5"), 6.15, 2),
        (("16", "NoSqueeze", "GFLOPs"), 4.27, 2),
        (("v1 reduction", "16", "top-1"), 23.29, 2),
        (("counts", "SENet-154", "parameters"), 115_088_984, 0),
    ],
)
def test_numbers(place, value, digits):
    n = paper.number(*place)
    assert (n.value, n.digits) == (value, digits)
    assert f"{n.value:.{n.digits}f}" == f"{value:.{digits}f}"


def test_the_tables_are_consistent():
    """SE-ResNet-50 has the same error in all ablations, and so does its baseline."""
    same = [("10", "16"), ("11", "avg"), ("12", "sigmoid"), ("13", "all"), ("16", "SE")]
    same += [("14", "standard"), ("15", "standard")]
    assert {(paper.number(t, r, "top-1").value, paper.number(t, r, "top-5").value) for t, r in same} == {(22.28, 6.03)}
    base = [("10", "original"), ("13", "ResNet-50"), ("16", "ResNet-50")]
    assert {(paper.number(t, r, "top-1").value, paper.number(t, r, "top-5").value) for t, r in base} == {(23.30, 6.55)}
    for row in paper.table("counts").rows.values():
        parameters, weights, biases, plain = (n.value for n in row.values())
        assert parameters == plain + weights + biases
    for n in paper.numbers():
        if "error" in paper.table(n.table).unit and "top-1" in n.column:
            top5 = paper.table(n.table).rows[n.row][n.column.replace("top-1", "top-5")] if n.table != "3" else None
            assert top5 is None or top5.value < n.value


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (("17", "a", "b"), "there is no table '17'; expected one of 1, 2"),
        (("10", "3", "top-1"), "table 10 has no row '3'; expected one of 2, 4"),
        (("10", "2", "top-2"), "table 10 has no column 'top-2'; expected one of top-1"),
        (("2", "VGG-16", "original top-1"), "has no number for VGG-16, original top-1"),
    ],
)
def test_missing_numbers_are_refused(place, message):
    with pytest.raises(ValueError, match=message):
        paper.number(*place)
