"""``se-numpy train``: from options, a preset and a file of settings to a run, several, or the rest of one."""

import argparse
import time
from dataclasses import fields, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from se_numpy import data
from se_numpy.data import Dataset
from se_numpy.engine import keep_freed_memory
from se_numpy.train.config import Config, choose_device, configure, read_toml, to_toml
from se_numpy.train.console import Console, duration, introduce, recipe, seconds_per_epoch
from se_numpy.train.loop import complete, resume, train
from se_numpy.train.run_dir import RUNS
from se_numpy.train.session import Session
from se_numpy.wrapping import wrap_text


def run_train(args: argparse.Namespace) -> None:
    """What the options ask for.  Raises ValueError for options that do not go together."""
    keep_freed_memory()
    given = {f.name: getattr(args, f.name) for f in fields(Config) if getattr(args, f.name, None) is not None}
    if args.resume is not None:
        _refuse("--resume goes on as the run was set up", given | _others(args), {"device", "data"},
                "; to train longer, start another run with more --epochs")  # fmt: skip
        resume(args.resume, dataset=data.load(args.data) if args.data else None, device=args.device or "")
        return
    if args.time_budget is not None and args.epochs is not None:
        raise ValueError("--time-budget decides how many epochs there are; --epochs cannot be given with it")
    if args.config is not None and args.preset is not None:
        raise ValueError("--config says all that a preset would; --preset cannot be given with it")
    if args.config is not None:
        given = read_toml(args.config) | given
    given["data"] = data.full_name(given.get("data", "builtin"))
    dataset = data.load(given["data"])
    config = configure(dataset, preset=args.preset, **given)
    if args.print_config:
        _refuse("--print-config prints the settings of one run", _others(args), {"print_config", "preset", "config"})
        print(to_toml(config), end="")
    elif args.seeds is not None:
        asked = _others(args) | ({} if args.seed is None else {"seed": args.seed})
        _refuse("--seeds starts a run for each of them", asked, {"seeds", "preset", "config", "dry_run"})
        _several(dataset, config, args.seeds, args.dry_run)
    else:
        train(dataset, config, time_budget=args.time_budget, dry_run=args.dry_run)


def _others(args: argparse.Namespace) -> dict[str, Any]:
    """The options that are no settings of a run and were given."""
    names = ("preset", "config", "print_config", "dry_run", "time_budget", "seeds")
    return {name: getattr(args, name) for name in names if getattr(args, name)}


def _refuse(why: str, given: dict[str, Any], allowed: set[str], longer: str = "") -> None:
    """ValueError for what was given and does not belong there; ``longer`` helps who wants more training."""
    for name in given:
        if name not in allowed:
            hint = longer if name in ("epochs", "time_budget") else ""
            raise ValueError(f"{why}; --{name.replace('_', '-')} cannot be given with it{hint}")


def _several(dataset: Dataset, config: Config, seeds: tuple[int, ...], dry_run: bool) -> None:
    """A run for each seed, below one folder; those that are over are not repeated, one that was cut goes on."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds {','.join(map(str, seeds))} names a seed twice")
    folder = config.out or str(RUNS / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.model}")
    if dry_run:
        _foretell(dataset, config, [Path(folder) / f"s{seed}" for seed in seeds])
        return
    accuracies = []
    for n, seed in enumerate(seeds, 1):
        print(f"{'' if n == 1 else chr(10)}seed {seed}, {n} of {len(seeds)}")
        try:
            run = complete(dataset, replace(config, seed=seed, out=str(Path(folder) / f"s{seed}")))
        except KeyboardInterrupt:
            print(f"         and with all seeds: the same command, with --out {folder}")
            raise
        accuracies.append(100 * run.result["test_accuracy"])
    spread = f" ± {stdev(accuracies):.2f}" if len(seeds) > 1 else ""
    each = " / ".join(f"{a:.2f}" for a in accuracies)
    print(wrap_text(f"\nseeds    {mean(accuracies):.2f}{spread} % of the test images right (mean ± s.d.): {each}", 9))


def _foretell(dataset: Dataset, config: Config, runs: list[Path]) -> None:
    """What a run for each seed would be: one that is told and timed, so many times."""
    say = Console(None)
    device, why = choose_device(config.device)
    session = Session(dataset, config, device)
    introduce(session, why, say)
    say(recipe(session))
    one = config.epochs * seconds_per_epoch(session, session.seconds_per_step())
    left = [folder for folder in runs if not (folder / "result.json").is_file()]
    over = f", {len(runs) - len(left)} finished; the others" if len(left) < len(runs) else ","
    say(wrap_text(f"seeds    {len(runs)} runs{over} about {duration(one)} each: {duration(len(left) * one)} in all", 9))
    say("dry run  nothing was trained, nothing was written")
