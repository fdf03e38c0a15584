"""Settings from presets, files and options are validated."""

import json
import tomllib
from dataclasses import asdict

import pytest
from damage import FUZZ, damaged
from hypothesis import given
from hypothesis import strategies as st
from training import tiny

from se_numpy.cli import main
from se_numpy.train import PRESETS, Config, configure, read_toml, to_toml
from se_numpy.train.run_dir import settings_of


def test_given_settings_override_the_preset_and_the_preset_overrides_the_defaults():
    assert (configure(tiny()).epochs, configure(tiny()).subset) == (6, None)
    smoke = configure(tiny(), preset="smoke", epochs=3)
    assert (smoke.epochs, smoke.subset, smoke.lr) == (3, 512, 0.3)
    assert [configure(tiny(), model=f"{name}small_resnext").lr for name in ("", "se_")] == [0.1, 0.1]
    assert [configure(tiny(), model="small_resnext", lr=lr).lr for lr in (0.05, 0.4)] == [0.05, 0.4]
    assert set(PRESETS) == {"smoke", "quick", "full"}
    assert all(set(by_data) == {"builtin", "scenes", "photographs"} for by_data in PRESETS.values())


@given(
    st.builds(
        Config,
        model=st.text(), epochs=st.integers(1, 10**9), lr=st.floats(0, 1e9), augment=st.booleans(),
        stages=st.none() | st.lists(st.integers()).map(tuple),
        subset=st.none() | st.integers(1, 10**9), bias=st.booleans(),
        momentum=st.floats(0, 0.999), data=st.text(),
    )
)  # fmt: skip
def test_a_configuration_is_read_back_from_toml(config):
    given = tomllib.loads(to_toml(config))
    assert Config(**given) == config
    assert set(given) == {name for name, value in asdict(config).items() if value is not None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 'many'", "epochs is 'many'; expected a whole number"),
        ("epochs = 2.5", "epochs is 2.5; expected a whole number"),
        ("epochs = true", "epochs is True; expected a whole number"),
        ("augment = 1", "augment is 1; expected true or false"),
        ("stages = ['a']", r"stages is \('a',\); expected whole numbers"),
        ("model = 3", "model is 3; expected text"),
        ("lr = '0.1'", "lr is '0.1'; expected a number"),
        ("epoch = 3", "unknown setting 'epoch'; did you mean epochs?"),
        ("zzz = 3", "unknown setting 'zzz'; expected one of model, "),
        ("epochs = ", "is not valid TOML"),
        ("a = " + "[" * 5000, "is not valid TOML"),
    ],
)
def test_an_invalid_file_is_refused_with_its_name_and_the_reason(tmp_path, text, message):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(ValueError, match=rf"run\.toml.*{message}"):
        read_toml(tmp_path / "run.toml")


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"run\.toml is not valid TOML"):
        read_toml(tmp_path / "run.toml")


@FUZZ
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | damaged(to_toml(configure(tiny())).encode()))
def test_any_file_is_read_or_refused_with_its_name(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    try:
        found = read_toml(path)
    except ValueError as error:
        found = str(error)
    assert isinstance(found, dict) or str(path) in found


@FUZZ
@given(damaged(json.dumps(asdict(configure(tiny())), indent=2).encode()))
def test_a_damaged_config_json_is_read_or_refused(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    try:
        found = settings_of(tmp_path)
    except ValueError as error:
        found = str(error)
    assert isinstance(found, Config) or "config.json does not contain the settings of a run" in found


def test_the_output_of_print_config_can_be_read_by_config(tmp_path, capsys):
    assert main(["train", "--print-config", "--stages", "1,3", "--lr", "0.05"]) == 0
    (tmp_path / "run.toml").write_text(capsys.readouterr().out)
    assert main(["train", "--config", str(tmp_path / "run.toml"), "--lr", "0.2", "--print-config"]) == 0
    again = tomllib.loads(capsys.readouterr().out)
    assert (again["stages"], again["lr"], again["model"]) == ([1, 3], 0.2, "se_resnet8")


def test_several_seeds_give_a_mean_and_finished_runs_are_not_repeated(tmp_path, capsys):
    command = ["train", "--preset", "smoke", "--subset", "64", "--seeds", "0,1", "--out", str(tmp_path / "runs")]
    assert main(command) == 0
    assert " % (mean ± s.d.): " in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["s0", "s1"]
    assert main(command) == 0
    assert capsys.readouterr().out.count("is finished") == 2
