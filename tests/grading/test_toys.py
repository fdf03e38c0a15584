"""The pages to play with: they hold their data, load nothing, and compute what this library computes."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import se_numpy as se
from se_numpy.grading.lessons.toys import TOYS, page, toy

every_toy = pytest.mark.parametrize("name", list(TOYS))


def data_of(text):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])


@every_toy
def test_pages_are_whole_and_load_nothing(name):
    text = page(name)
    assert "/*DATA*/" not in text
    assert text.startswith("<!doctype html>")
    assert not re.search(r"(src|href)=|@import|url\(|fetch\(|https?:", text)
    assert len(text) < 200_000


@every_toy
def test_a_notebook_shows_the_page_in_a_frame(name):
    shown = toy(name)
    frame = shown._repr_html_()
    assert re.fullmatch(r'<iframe title="[^"]+" srcdoc="[^"]+" [^>]*sandbox="allow-scripts"></iframe>', frame)
    assert TOYS[name][0] in repr(shown)


def test_an_unknown_toy_is_refused():
    with pytest.raises(ValueError, match="there is no toy 'exitation'; expected one of excitation"):
        toy("exitation")


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_you_are_the_excitation_computes_the_equations(tmp_path):
    text = page("excitation")
    data = data_of(text)
    model = re.search(r'<script id="model">(.*?)</script>', text, re.S)[1]
    n = 5
    s = [0.1, 0.9, 0.3, 0.7, 0.2, 0.6]
    script = f"""{model}
    const data = {json.dumps(data)}, bytes = Uint8Array.from(atob(data.pictures), (letter) => letter.charCodeAt(0));
    const U = maps(bytes.subarray({n} * 3072, {n + 1} * 3072), data.shifts), z = squeeze(U);
    const X = scale(U, {s});
    console.log(JSON.stringify([U, z, excite(z, data.W1, data.W2), X, read(X, data)]));"""
    (tmp_path / "model.js").write_text(script, encoding="utf-8")
    done = subprocess.run(["node", tmp_path / "model.js"], check=True, capture_output=True, text=True)
    *found, answer = json.loads(done.stdout)
    pictures = np.frombuffer(base64.b64decode(data["pictures"]), np.uint8).reshape(-1, 32, 32, 3)
    X = (pictures[n : n + 1] - 128.0) / 100
    U = se.relu(se.conv2d(X, np.array(data["shifts"], float).T[None, None]))
    z = se.squeeze(U)
    X_tilde = se.scale(U, np.array([s]))
    expected = U, z, se.excite(z, np.array(data["W1"]), np.array(data["W2"])), X_tilde
    for ours, theirs in zip(expected, found, strict=True):
        flat = np.moveaxis(ours[0], -1, 0).reshape(np.shape(theirs))
        np.testing.assert_allclose(theirs, flat, rtol=0, atol=1e-12)
    glyphs = np.array(data["glyphs"]) - np.mean(data["glyphs"], (1, 2), keepdims=True)
    places = [X_tilde[0, top : top + 3, data["left"] : data["left"] + 5].sum(-1) for top in data["rows"]]
    assert answer == np.einsum("rij,kij->k", places, glyphs).argmax()
