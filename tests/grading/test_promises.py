"""Tests of the self-test: it attacks every promise, and it notices when a protection is missing."""

from dataclasses import replace
from pathlib import Path

import pytest

from se_numpy.grading import isolation
from se_numpy.grading.isolation import PROMISES, Result, backends, examine, promises
from se_numpy.grading.isolation.backends import LEVELS, problem_of

SECURITY = Path(__file__).parents[2] / "SECURITY.md"


def test_the_documents_state_each_promise_for_each_level():
    security = SECURITY.read_text(encoding="utf-8")
    rows = [" ".join(line.split()) for line in isolation.__doc__.splitlines()]
    assert security.count("| yes |\n") == len(PROMISES)
    for promise in PROMISES:
        kept = [level >= promise.level for level in LEVELS]
        assert f"{promise.sentence} {' '.join('x' * sum(kept))}" in rows
        assert f"| {promise.sentence} | {' | '.join('yes' if k else 'no' for k in kept)} |" in security


@pytest.fixture(scope="module")
def results():
    return {result.promise.sentence: result for result in examine()}


@pytest.mark.parametrize("promise", PROMISES, ids=[p.sentence for p in PROMISES])
def test_each_promise_is_kept_on_this_machine(results, promise):
    found = results[promise.sentence]
    assert found.broken == ()
    working = {b.level for b in backends.BACKENDS if not problem_of(b)}
    for level in LEVELS:
        expected = "-" if level < promise.level else "yes" if level in working else "?"
        assert found.levels[level] == expected


WITHOUT = {
    "landlock": ["... even if their folder is added to sys.path", "the grader's files cannot be read"],
    "seccomp": [p.sentence for p in PROMISES if p.sentence.startswith(("processes and", "no ")) and "file is" not in
                p.sentence],
}  # fmt: skip


@pytest.mark.parametrize("protection", WITHOUT)
def test_a_missing_protection_breaks_promises(protection, monkeypatch):
    strong = next(b for b in backends.BACKENDS if b.option == "landlock")
    if problem := problem_of(strong):
        pytest.skip(problem)
    weak = replace(strong, **{protection: False})
    monkeypatch.setattr(promises, "BACKENDS", (weak,))
    monkeypatch.setattr(promises, "problem_of", lambda _: "")
    found = {result.promise.sentence: result for result in examine()}
    for sentence in WITHOUT[protection]:
        assert found[sentence].levels["L2"] == "NO", sentence
        assert found[sentence].broken[0].startswith("L2: ")
    assert found["endless loops, exit(), crashes and huge output are reported"].levels == {
        "L1": "?", "L2": "yes", "L3": "?"}  # fmt: skip


def test_the_doctor_prints_each_promise_and_fails_if_one_is_broken(monkeypatch, capsys):
    from se_numpy.cli import main

    levels = {"L1": "-", "L2": "yes", "L3": "?"}
    found = [Result(promise, levels, ()) for promise in PROMISES]
    monkeypatch.setattr(isolation, "examine", lambda *_: found)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(f"   - yes   ?  {promise.sentence}\n" in out for promise in PROMISES)
    found[0] = Result(PROMISES[0], levels | {"L2": "NO"}, ("L2: os.fork()",))
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "succeeded at 'L2: os.fork()'" in captured.out
    assert "1 promise broken on this machine; see above" in captured.err
