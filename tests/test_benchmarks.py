"""The benchmarks run and write the promised records.  The measured times are not tested."""

import json
import math
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import all as everything
import gpu
import growth
import numpy as np
import pytest
import scenes
import side_by_side
import step
import where_time_goes

from se_numpy import engine, layers, models, tree
from se_numpy.data import built_in_scenes

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {"engine", "threads", "versions", "blas", "machine", "cpu", "repeats", "cores_busy_elsewhere"}
PARTS = {"name", "se_numpy_ms", "torch_ms", "ratio"}


def record(script, options, folder):
    """Run a script from the command line and return its record.

    One thread is used, because PyTorch's threads mostly wait for each other while other tests run.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "SE_NUMPY_THREADS": "1"}
    file = folder / f"{script}.json"
    command = [sys.executable, "-W", "error", str(ROOT / "benchmarks" / f"{script}.py"), *options.split()]
    out = subprocess.run([*command, "--json", str(file)], env=environment, cwd=folder, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout
    written = json.loads(file.read_text())
    assert written.keys() > ENVIRONMENT
    assert written["versions"]["numpy"] == np.__version__
    return written


@pytest.mark.slow
def test_operations(tmp_path):
    torch = pytest.importorskip("torch")
    written = record("operations", everything.SMALL["operations"], tmp_path)
    assert written["versions"]["torch"] == torch.__version__
    networks = written["convolutions"]
    assert {name: len(found["rows"]) for name, found in networks.items()} == {"se_resnet20": 8, "resnet50": 23}
    assert sum(row["count"] for row in networks["se_resnet20"]["rows"]) == 21  # 19 3x3 convolutions and 2 projections
    assert len(written["others"]) == 8
    for row in written["others"] + [r for n in networks.values() for r in [*n["rows"], n["all"]]]:
        assert row.keys() >= PARTS
        assert "book_ms" not in row
        assert row["se_numpy_ms"].keys() == row["torch_ms"].keys() == row["ratio"].keys() - {"all"}
        assert all(ms > 0 for ms in row["se_numpy_ms"].values())


@pytest.mark.slow
def test_operations_with_the_book(tmp_path):
    pytest.importorskip("torch")
    written = record("operations", f"{everything.SMALL['operations']} --book", tmp_path)
    with_book = [r for n in written["convolutions"].values() for r in [*n["rows"], n["all"]]] + written["others"][:4]
    for row in with_book:
        assert row["book_ms"].keys() == {"forward", "backward"}
        assert all(ms > 0 for ms in row["book_ms"].values())
    assert not any("book_ms" in row for row in written["others"][4:])  # the loss and SGD


@pytest.mark.parametrize("input_gradient", [True, False])
def test_engine_and_book_compute_the_same_gradients(input_gradient):
    """The timed calls can be repeated, and both columns compute the same gradients."""
    pytest.importorskip("torch")
    import operations

    calls = operations.pair(layers.serial(layers.Conv(4, 3)), (6, 5, 2), 3, input_gradient=input_gradient, book=True)
    dX, grads = calls["book backward"]()
    for _ in range(2):
        found = calls["backward"]()
        if input_gradient:
            np.testing.assert_allclose(found[0], dX, rtol=1e-4, atol=1e-5)
        dV = found[1]["conv1"]["V"] if input_gradient else found[1]
        np.testing.assert_allclose(dV, grads["conv1"]["V"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_step(tmp_path):
    pytest.importorskip("torch")
    written = record("step", everything.SMALL["step"], tmp_path)
    assert written.keys() >= json.loads((ROOT / "benchmarks" / "results" / "step.json").read_text()).keys()
    assert written["by_batch"].keys() == {"2", "3"}
    assert written["median_ms"] == written["by_batch"]["2"]["step_ms"]
    for measured in written["by_batch"].values():
        assert measured.keys() == {"step_ms", "inference_ms"}
        assert all(ms.keys() == set(step.NAMES) for ms in measured.values())


@pytest.mark.slow
def test_table(tmp_path):
    pytest.importorskip("torch")
    import table

    written = record("table", everything.SMALL["table"], tmp_path)
    assert written["contenders"] == [table.BOOK, table.ENGINE, step.DEFAULT, step.CHANNELS_LAST]
    by_kind = {kind: [row for row in written["rows"] if row["what"] == kind] for kind in table.KINDS}
    assert {kind: len(rows) for kind, rows in by_kind.items()} == {
        "step": 1, "inference": 1, "forward": len(table.OPERATIONS), "backward": len(table.OPERATIONS)
    }  # fmt: skip
    for row in written["rows"]:
        assert row["ms"].keys() == set(written["contenders"])
        assert row["book / engine"] == row["ms"][table.BOOK] / row["ms"][table.ENGINE]
        assert row["ms"][table.ENGINE] > 0


def test_contenders_of_the_table_compute_the_same_gradients():
    pytest.importorskip("torch")
    import table

    for op in table.OPERATIONS:
        assert_same_gradients(table, op.title)


def assert_same_gradients(table, name):
    dX, grads = table.operation(table.BOOK, name, "backward", small=True)()
    found, of_layers = table.operation(table.ENGINE, name, "backward", small=True)()
    theirs, *_ = table.operation(step.DEFAULT, name, small=True)()
    assert tuple(theirs.permute(0, 2, 3, 1).shape if theirs.ndim == 4 else theirs.shape) == dX.shape
    np.testing.assert_allclose(found, dX, rtol=1e-3, atol=1e-4 * np.abs(dX).max())
    expected = dict(tree.leaves(grads))
    for leaf, array in tree.leaves(of_layers):
        np.testing.assert_allclose(array, expected[leaf], rtol=1e-3, atol=1e-4 * np.abs(expected[leaf]).max())


@pytest.mark.slow
def test_growth(tmp_path):
    written = record("growth", everything.SMALL["growth"], tmp_path)
    assert written["growth"].keys() == {"batch", "size", "width", "depth"}
    for found in written["growth"].values():
        assert len(found["values"]) == len(found["median_ms"]) == 2
        assert math.isfinite(found["exponent"])
        assert found["last_over_first"] == found["median_ms"][1] / found["median_ms"][0]


def test_startup(tmp_path):
    written = record("startup", everything.SMALL["startup"], tmp_path)
    assert written["median_ms"].keys() == {"python -c pass", "import numpy", "import se_numpy", "se-numpy --help"}
    assert written["beyond_numpy_ms"].keys() == {"import se_numpy", "se-numpy --help"}


@pytest.mark.parametrize("threads", [1, 2])
def test_where_time_goes(tmp_path, threads):
    written = record("where_time_goes", f"--model se_resnet8 --batch 8 --repeats 1 --threads {threads}", tmp_path)
    assert written["threads"] == threads
    operations, inside = written["operations"], written["inside_blocks"]
    expected = {"convolve 3x3 /1", "convolve_backward 3x3 /2", "AffineMaps.write", "excite", "squeeze", "SGD.step"}
    assert operations.keys() >= expected
    assert inside.keys() == {name.partition(":")[2] for name in where_time_goes.INSIDE_BLOCKS}
    assert operations["convolve 3x3 /1"]["calls"] == 5
    assert sum(row["ms"] for row in operations.values()) == pytest.approx(written["timed_ms"])
    assert operations["the rest"]["ms"] >= 0


def test_all_runs_every_benchmark(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(everything.subprocess, "run", lambda command, check: commands.append(command))
    monkeypatch.setattr(sys, "argv", ["all.py", "--results", str(tmp_path / "new")])
    everything.main()
    assert [command[2:] for command in commands] == [
        ["--json", str(tmp_path / "new" / f"{name}.json")] for name in everything.SMALL
    ]
    assert {Path(script).stem for _, script, *_ in commands} == set(everything.SMALL) >= {"table", "step"}
    assert all(Path(script).exists() for _, script, *_ in commands)


def test_all_refuses_to_overwrite_results_with_small(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["all.py", "--small"])
    with pytest.raises(SystemExit):
        everything.main()
    assert "overwrite" in capsys.readouterr().err


def test_no_benchmark_shadows_the_standard_library():
    assert not {path.stem for path in (ROOT / "benchmarks").glob("*.py")} & sys.stdlib_module_names


# -------------------------------------------------------------------------------------------------------- helpers


def test_contenders_take_turns_with_unmeasured_calls_first(monkeypatch):
    monkeypatch.setattr(side_by_side, "SETTLE_MS", 0.0)
    called = []
    times = side_by_side.alternate({name: lambda name=name: called.append(name) for name in "ab"}, repeats=3)
    assert "".join(called) == "aaaabbbb" * 3
    assert {name: len(ms) for name, ms in times.items()} == {"a": 6, "b": 6}


def test_turn_starts_with_a_settling_time():
    calls = []
    side_by_side.alternate({"a": lambda: calls.append(time.perf_counter())}, repeats=1)
    assert 1e3 * (calls[-side_by_side.MEASURED] - calls[0]) > 0.9 * side_by_side.SETTLE_MS


@pytest.mark.parametrize(("busy", "warned"), [(0.0, False), (0.5, True), (None, False)])
def test_busy_machine_gives_a_warning(monkeypatch, capsys, busy, warned):
    monkeypatch.setattr(side_by_side, "busy_elsewhere", lambda: busy)
    side_by_side.finish(None, {})
    assert ("not reliable" in capsys.readouterr().out) is warned


@pytest.mark.slow
@pytest.mark.parametrize("part", ["agreement", "probe", "step"])
def test_gpu(part, double):
    """The GPU parts run on the double of CuPy, with PyTorch on the CPU."""
    if part == "step":
        pytest.importorskip("torch")
    small = ["--model", "se_resnet8", "--batches", "2", "3", "--probe-batch", "2", "--repeats", "1"]
    *_, found = gpu.PARTS[part](gpu.parser().parse_args(small))
    found = json.loads(json.dumps(found))
    if part == "agreement":
        assert found["conv2d"].keys() == {"float32", "float64"}
        assert all(x["float32"] < 1e-4 and x["float64"] < 1e-12 for x in found.values())
        assert any(x["float32"] > 0 for x in found.values())
    elif part == "probe":
        assert all(x["us"] > 0 for x in found.values())
        assert {"GB/s", "GFLOP/s"} < {unit for x in found.values() for unit in x}
    else:
        assert found["by_batch"].keys() == {"2", "3"}
        measured = found["by_batch"]["2"]
        assert measured["ms"].keys() == {"se_numpy", "PyTorch", "PyTorch, channels-last", "PyTorch, half"}
        assert measured["ratio"]["PyTorch"] == measured["ms"]["se_numpy"] / measured["ms"]["PyTorch"]


@pytest.mark.slow
def test_gpu_trains(tmp_path):
    options = ["--seeds", "1", "--epochs", "1", "--device", "cpu", "--train=--batch-size 500 --model resnet8"]
    (found,) = gpu.train(gpu.parser().parse_args(options))
    run = found["runs"]["--epochs=1 --batch-size 500 --model resnet8 --seed 1"]
    assert run["epochs"] == 1
    assert run["seconds_with_start"] > run["seconds"] > 0


def test_gpu_without_cupy_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--json", str(tmp_path / "gpu.json")])
    with pytest.raises(SystemExit, match="pip install 'cupy"):
        gpu.main()
    assert not (tmp_path / "gpu.json").exists()


PART = """
import sys
sys.path[:0] = {folders!r}
import gpu
def bad(args):
    yield {{"first": 1}}
    raise ValueError("second failed")
def missing(args):
    gpu.require("no_such_package")
    yield {{}}
gpu.PARTS |= {{
    "tests": bad, "step": missing, "agreement": lambda args: iter([{{"fine": 2}}]),
    "probe": lambda args: iter([{{"by_batch": {{str(n): n for n in args.batches}}}}]),
}}
gpu.main()
"""


@pytest.fixture
def run_gpu(tmp_path, monkeypatch, double):
    """Return a function that runs parts of gpu.py, replaced by short ones, and returns its exit code and its record."""
    file, script = tmp_path / "results" / "gpu.json", tmp_path / "parts.py"
    script.write_text(PART.format(folders=[str(ROOT), str(ROOT / "benchmarks")]))
    monkeypatch.setattr(gpu, "card", lambda cp: {"gpu": "none"})
    monkeypatch.setattr(gpu, "COMMAND", [str(script)])

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--json", str(file), *options])
        with pytest.raises(SystemExit) as ended:
            gpu.main()
        return ended.value.code, json.loads(file.read_text())

    return run


def test_gpu_continues_after_a_failed_part_and_keeps_what_it_found(run_gpu, capsys):
    code, record = run_gpu("--only", "tests", "step", "agreement")
    assert code == 1
    assert (record["tests"]["first"], record["tests"]["error"]) == (1, "second failed")
    assert "no_such_package is not installed; run pip" in record["step"]["error"]
    assert (record["agreement"]["fine"], record["agreement"]["error"]) == (2, None)
    assert record["agreement"]["measured_on"] == {"gpu": "none"}
    assert record["versions"]["numpy"] == record["agreement"]["versions"]["numpy"] == np.__version__
    assert "not all went well: tests, step" in capsys.readouterr().out


def test_gpu_adds_to_earlier_results(run_gpu):
    assert run_gpu("--only", "tests")[0] == 1
    assert run_gpu("--only", "probe", "--batches", "1")[0] == 0
    code, record = run_gpu("--only", "probe", "--batches", "2", "3")
    assert code == 0
    assert record["probe"]["by_batch"] == {"1": 1, "2": 2, "3": 3}
    assert record["tests"]["first"] == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_gpu_ends_everything_that_a_part_started(tmp_path, monkeypatch):
    """The part's own process waits for another one, which would run for ten minutes."""
    script, pid = tmp_path / "part.py", tmp_path / "pid"
    sleep = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    script.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {sleep!r}])")
    monkeypatch.setattr(gpu, "COMMAND", [str(script)])
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    limit = 1
    while not pid.exists() or not pid.read_text():  # on a very busy machine a second may be too short
        error = gpu.in_a_process("train", gpu.parser().parse_args(["--limit", str(limit)]))
        assert error == f"stopped after {limit} seconds; --limit allows more"
        limit *= 2
    for _ in range(600):  # a killed process may take a moment to end
        if not runs(pid.read_text()):
            return
        time.sleep(0.1)
    pytest.fail("the process still runs")


def runs(pid):
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_cupy_is_found_under_the_names_of_its_wheels(monkeypatch):
    from se_numpy.train import environment

    monkeypatch.setattr(environment, "version", {"cupy-cuda12x": "14.2"}.get)
    assert side_by_side.installed("cupy") == "14.2"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_peak_memory():
    assert side_by_side.peak_memory("step:step", "se_numpy", "se_resnet8", 16) > 1


def test_inference_returns_the_networks_logits():
    net = models.build("se_resnet8")
    params, state = layers.init(net, step.SHAPE, np.random.default_rng(0))
    X, _ = step.images_and_labels(4)
    net_logits, cache = net.forward(params, state, X, train=True)
    net.update_running(state, cache)
    expected, _ = net.forward(params, state, X)
    assert not np.allclose(expected, net_logits, atol=1e-3)
    np.testing.assert_allclose(engine.compile(net).predictor(params, state)(X), expected, rtol=1e-4, atol=1e-5)


def test_exponent_of_a_power_law():
    assert growth.exponent([1, 2, 4, 7], [3 * x**1.5 for x in (1, 2, 4, 7)]) == pytest.approx(1.5)


def test_widened_is_the_same_network_with_more_channels():
    net = models.resnet(8, reduction=4)
    assert growth.widened(net, 1) == net
    wide = growth.widened(net, 3)
    for (name, layer, _), (same_name, other, _) in zip(
        layers.walk(net, step.SHAPE), layers.walk(wide, step.SHAPE), strict=True
    ):
        assert name == same_name
        assert other == (replace(layer, C=3 * layer.C) if isinstance(layer, layers.Conv) else layer)


def test_resnet50_has_the_known_size():
    pytest.importorskip("torch")
    import operations

    found = list(operations.convolutions_of_resnet50(224))
    assert len(found) == 53
    filters = [conv.k**2 * shape[-1] * conv.C for conv, shape in found]
    assert sum(filters) == 23_454_912  # 25,557,032 minus 2,049,000 in the classifier and 53,120 in batch norm
    pixels = [math.prod(conv.output_shape(shape)[:2]) for conv, shape in found]
    assert sum(f * p for f, p in zip(filters, pixels, strict=True)) == 4_087_136_256  # 4.089 G with the classifier


def test_nested_timers_count_time_once():
    clock = where_time_goes.Clock()
    with clock.during("outer"), clock.during("inner"):
        time.sleep(0.05)
    spent = clock.per_step(1)
    assert list(spent) == ["inner", "outer"]
    assert spent["inner"]["calls"] == 1


def test_pictures_of_scenes_are_labelled_with_their_largest_object():
    data = built_in_scenes(train=30, test=1)
    images, labels = scenes.largest(data, "train")
    pictures = np.unique(data.train_boxes.images)
    np.testing.assert_array_equal(images, data.train_images[pictures])
    for picture, label in zip(pictures, labels, strict=True):
        boxes = data.train_boxes.of(picture)
        assert boxes.areas[boxes.classes == label].max() == boxes.areas.max()


def test_transfer_starts_from_a_run_that_comes_before_it():
    planned = list(scenes.jobs(list(scenes.PARTS), [0, 1, 2]))
    assert len({job.folder for job in planned}) == len(planned) == 6 + 2 + 12 + 12
    for job in planned:
        if job.init:
            source = scenes.Job(scenes.FROM[job.part], job.model, 0)
            assert planned.index(source) < planned.index(job)


def test_results_of_scenes_are_printed_in_a_table():
    rows = [{"part": part, "model": "resnet8", "seed": seed, "init": init, "test_accuracy": (seed + 1) / 8,
             "use_of_time": 0.5}
            for part, init in (("scenes", False), ("scenes-to-objects", True)) for seed in (0, 1)]  # fmt: skip
    budgets = {"full": {"subset": 2500, "epochs": 8}, "few": {"subset": 500, "epochs": 4}}
    record = {"budgets": budgets, "seeds": [0, 1], "rows": rows}
    assert scenes.time_table(record)[2:] == ["| `resnet8`, scenes | 50.0 / 50.0 % |"]
    assert scenes.table(record)[2:] == [
        "| scenes | scratch | 2,500, 8 | 12.5 / 25.0 % | not measured |",
        "| objects | scenes, seed 0 | 500, 4 | 12.5 / 25.0 % | not measured |",
    ]


def test_pictures_with_the_other_time_differ_in_the_upper_rows_alone():
    now, then, labels = scenes.with_other_time(12)
    changed = (now != then).any((0, 2, 3))
    assert changed[:8].all()
    assert not changed[10:].any()
    np.testing.assert_array_equal(np.bincount(labels), np.full(6, 2))
