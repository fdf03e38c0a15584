"""The public interface: imported on first use, listed by dir(), and visible to help() and to a type checker."""

import importlib
import pydoc
import subprocess
import sys

import pytest

import se_numpy

PACKAGES = ("layers", "models", "data", "train", "engine", "interop", "grading", "analysis", "ablation", "optim")


def test_subpackages_are_attributes_and_not_imported_at_start():
    code = (
        "import sys, se_numpy\n"
        "loaded = {name.split('.')[1] for name in sys.modules if name.startswith('se_numpy.')}\n"
        f"assert not loaded & set({PACKAGES!r}), loaded\n"
        f"assert all(getattr(se_numpy, name).__name__ == 'se_numpy.' + name for name in {PACKAGES!r})\n"
        "assert se_numpy.layers.Conv and se_numpy.interop.load and se_numpy.grading.check and se_numpy.check_layer\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize("name", ["", *PACKAGES])
def test_dir_lists_what_is_public_and_nothing_is_missing(name):
    package = importlib.import_module(f"se_numpy.{name}".rstrip("."))
    public = set(getattr(package, "__all__", ()))
    assert public <= set(dir(package))
    assert all(getattr(package, one) is not None for one in public)
    with pytest.raises(AttributeError, match="nonsense"):
        package.nonsense  # noqa: B018


@pytest.mark.parametrize("package", [se_numpy, se_numpy.interop, se_numpy.grading], ids=lambda p: p.__name__)
def test_help_shows_what_is_public(package):
    text = pydoc.render_doc(package, renderer=pydoc.plaintext)
    for name in set(package.__all__) - {"__version__"}:
        assert name in text
    assert "__getattr__" not in text


def test_a_type_checker_sees_what_is_public(tmp_path):
    pytest.importorskip("mypy")
    uses = tmp_path / "uses.py"
    uses.write_text(
        "import se_numpy\n"
        "from se_numpy import grading, interop\n"
        "reveal_type(se_numpy.layers.Conv)\n"
        "reveal_type(se_numpy.check_layer)\n"
        "reveal_type(interop.load)\n"
        "reveal_type(grading.check)\n"
        "se_numpy.nonsense\n"
        "interop.nonsense\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), str(uses)], capture_output=True, text=True
    )
    assert done.stdout.count('has no attribute "nonsense"') == 2, done.stdout + done.stderr
    assert done.stdout.count("Revealed type is") == 4
    assert 'Revealed type is "Any"' not in done.stdout
