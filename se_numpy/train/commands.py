"""``se-numpy train``: start one run, start a run for each of several seeds, or resume a run."""

import argparse
import time
from dataclasses import fields, replace
from pathlib import Path
from shlex import quote
from statistics import mean, stdev
from typing import Any

from se_numpy import data
from se_numpy.data import Dataset
from se_numpy.engine import keep_freed_memory
from se_numpy.models import SEConfig
from se_numpy.train import run_dir
from se_numpy.train.config import Config, choose_device, configure, read_toml, to_toml
from se_numpy.train.console import Console, duration, introduce, recipe
from se_numpy.train.estimate import seconds_in_total
from se_numpy.train.loop import check_completable, complete, extend, resume, train
from se_numpy.train.run_dir import RUNS, find, settings_of
from se_numpy.train.session import Session
from se_numpy.train.tasks import TASKS
from se_numpy.wrapping import plural, wrap_text


def run_train(args: argparse.Namespace) -> None:
    """Run ``se-numpy train`` with the parsed options.

    Raises
    ------
    ValueError
        If options are given that cannot be combined.
    """
    keep_freed_memory()
    given = {f.name: getattr(args, f.name) for f in fields(Config) if getattr(args, f.name, None) is not None}
    if args.resume is not None:
        _resume(args, given)
        return
    if args.time_budget is not None and args.epochs is not None:
        raise ValueError("--time-budget sets the number of epochs; --epochs cannot be given with it")
    if args.config is not None and args.preset is not None:
        raise ValueError("--config replaces the presets; --preset cannot be given with it")
    if args.config is not None:
        given = read_toml(args.config) | given
    if given.get("init") is not None:
        given = network_of(given["init"]) | given
    given["data"] = data.full_name(given.get("data", "builtin"))
    dataset = data.load(given["data"], **data.reading(given))
    config = configure(dataset, preset=args.preset, **given)
    if args.print_config:
        allowed = {"print_config", "preset", "config"}
        _refuse("--print-config prints the settings of one run", _run_options(args), allowed)
        print(to_toml(config), end="")
    elif args.seeds is not None:
        options = _run_options(args) | ({} if args.seed is None else {"seed": args.seed})
        _refuse("--seeds starts a run for each seed", options, {"seeds", "preset", "config", "dry_run"})
        _train_seeds(dataset, config, args.seeds, args.dry_run)
    else:
        train(dataset, config, time_budget=args.time_budget, dry_run=args.dry_run)


def _resume(args: argparse.Namespace, given: dict[str, Any]) -> None:
    """Resume a run or, with --epochs, train a finished one longer."""
    longer = {"epochs", "lr", "schedule", "out"} if args.epochs is not None else set()
    _refuse("--resume continues a run with its own settings", given | _run_options(args), {"device", "data"} | longer,
            "; to train a finished run longer, give --epochs")  # fmt: skip
    more: dict[str, Any] = {"dataset": _given_data(args), "device": args.device or ""}
    if args.epochs is None:
        resume(args.resume, **more)
    else:
        extend(args.resume, args.epochs, folder=args.out, lr=args.lr, schedule=args.schedule, **more)


def network_of(init: str) -> dict[str, Any]:
    """Return the settings of the network of a run; {} for a weights file, which does not always state them."""
    folder = run_dir.existing(init)
    folder = folder if folder.is_dir() else folder.parent
    if not (folder / "config.json").is_file():
        return {}
    config = run_dir.settings_of(folder)
    return {name: getattr(config, name) for name in ("model", "layers", *(field.name for field in fields(SEConfig)))}


def _given_data(args: argparse.Namespace) -> Dataset | None:
    """Return the data set that is given to resume a run on, read as the run's own; None for the run's own."""
    if not args.data:
        return None
    return data.load(args.data, **data.reading(vars(settings_of(find(args.resume)[0]))))


def _run_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the given options that are not fields of ``Config``."""
    names = ("preset", "config", "print_config", "dry_run", "time_budget", "seeds")
    return {name: getattr(args, name) for name in names if getattr(args, name)}


def _refuse(why: str, given: dict[str, Any], allowed: set[str], longer: str = "") -> None:
    """Raise ValueError for a given option that is not allowed; ``longer`` is a hint on how to train longer."""
    for name in given:
        if name not in allowed:
            hint = longer if name in ("lr", "schedule", "out", "time_budget") else ""
            raise ValueError(f"{why}; --{name.replace('_', '-')} cannot be given with it{hint}")


def _train_seeds(dataset: Dataset, config: Config, seeds: tuple[int, ...], dry_run: bool) -> None:
    """Make one run for each seed in a common folder: skip finished runs and resume interrupted ones."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {','.join(map(str, seeds))} contains a seed twice; expected distinct seeds")
    folder = config.out or str(RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}")
    configs = [replace(config, seed=seed, out=str(Path(folder) / f"s{seed}")) for seed in seeds]
    for one in configs:
        check_completable(dataset, one)
    if dry_run:
        _estimate_seeds(dataset, configs)
        return
    scores, task = [], TASKS[config.task]
    for n, one in enumerate(configs, 1):
        print(f"{'' if n == 1 else chr(10)}seed {one.seed}, {n} of {len(seeds)}")
        try:
            run = complete(dataset, one)
        except KeyboardInterrupt:
            print(wrap_text(f"         to resume all seeds, repeat the command with --out {quote(folder)}", 9))
            raise
        scores.append(100 * run.result[f"test_{task.metric}"])
    spread = f" ± {stdev(scores):.2f}" if len(seeds) > 1 else ""
    each = " / ".join(f"{score:.2f}" for score in scores)
    print(wrap_text(f"\nseeds    test {task.words[0]} {mean(scores):.2f}{spread} % (mean ± s.d.): {each}", 9))


def _estimate_seeds(dataset: Dataset, configs: list[Config]) -> None:
    """Print the settings and the estimated time of a run for each seed."""
    say, config = Console(None), configs[0]
    device, why = choose_device(config.device)
    session = Session(dataset, config, device)
    introduce(session, why, say)
    say(recipe(session))
    one = seconds_in_total(session, session.seconds_per_step())
    left = [c for c in configs if not (Path(c.out or "") / "result.json").is_file()]
    done = f", {len(configs) - len(left)} finished; the others" if len(left) < len(configs) else ","
    each, total = duration(one), duration(len(left) * one)
    say(wrap_text(f"seeds    {plural(len(configs), 'run')}{done} about {each} each: {total} in total", 9))
    say("dry run  nothing was trained, nothing was written")
