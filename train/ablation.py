"""Trains MGIE and its two baselines alike, and writes the table that compares them.

    python train/ablation.py CONFIG.yaml --data PLAIN --vague VAGUE -o DIR [--seeds 3] [--steps N]

CONFIG is one of stage `joint`, `train/configs/ablation.yaml` for instance; PLAIN and VAGUE are folders that
`mgie data synth` writes, VAGUE with `--vague-rate 1`. DIR gets a run folder for each kind and seed (`ip2p_0`,
`lgie_0`, `mgie_0`, `ip2p_1`, ...), with both evaluations in it, then `ablation.md` and `ablation.json`. The
same command again goes on where it was.

The runs differ in `model.conditioning` and `seed` alone. Those of one seed begin with the same weights in
language model, edit head, autoencoder and UNet, and see the same rows, noise and timesteps in the same order,
for as many steps; each record is edited from the same noise by all.
"""

import argparse
import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mgie.config import TrainConfig, load_config
from mgie.errors import ConfigError, DataError, MGIEError
from mgie.evaluation import Evaluation, evaluate, write_tables
from mgie.evaluation.suites import edit_records
from mgie.evaluation.tables import COPY, MODEL
from mgie.files import write_whole
from mgie.pipeline import MGIEPipeline
from mgie.training.loop import train

KINDS = {
    "ip2p": "IP2P: the instruction alone",
    "lgie": "LGIE: the language model does not see the picture",
    "mgie": "MGIE",
}
FIGURES = {"success": "edit success", "l1": "L1 / copy"}

Evaluations = Mapping[str, Mapping[str, Any]]
"""A run's `evaluation.json` of each dataset, by the dataset's name."""


def configurations(path: Path, overrides: Sequence[str], seeds: int, out: Path) -> dict[Path, TrainConfig]:
    """Returns the configuration of each run by its folder: all kinds with one seed, then with the next.

    Raises:
        ConfigError: the configuration is wrong, or of another stage than `joint`; or a folder holds a run of
            another one.
    """
    configs: dict[Path, TrainConfig] = {}
    for seed in range(seeds):
        for kind in KINDS:
            run = out / f"{kind}_{seed}"
            own = [f"model.conditioning={kind}", f"seed={seed}"]
            config = dataclasses.replace(load_config(path, [*overrides, *own]), output_dir=str(run))
            if config.stage != "joint":
                raise ConfigError(f"{path} is of stage {config.stage}; expected joint")
            begun = run / "config.yaml"
            if begun.is_file() and dataclasses.replace(load_config(begun), output_dir=str(run)) != config:
                raise ConfigError(f"{run} was trained with another configuration; choose another folder")
            configs[run] = config
    return configs


def train_run(config: TrainConfig) -> Path:
    """Trains, or goes on, with a bar on standard error; returns the folder of the pipeline."""
    run = Path(config.output_dir)
    with tqdm(total=config.max_steps, desc=run.name, unit="step") as bar:

        def report(step: int, losses: dict[str, float]) -> None:
            bar.n = step
            bar.set_postfix(loss=f"{losses['loss']:.4g}")

        return train(config, report)


def evaluations(config: TrainConfig, datasets: Mapping[str, Path]) -> Evaluations:
    """Trains and evaluates a run; what it has of both already is not made again."""
    run = Path(config.output_dir)
    lacking = {name: data for name, data in datasets.items() if not _is_evaluated(run / name, data)}
    if lacking:
        pipeline = MGIEPipeline.from_pretrained(train_run(config))
        pipeline.set_progress_bar_config(disable=True)
        for name, data in lacking.items():
            with tqdm(desc=f"{run.name} on {name} instructions", unit="edit") as bar:

                def progress(done: int, total: int, bar: Any = bar) -> None:
                    bar.update(done - bar.n)

                cases = evaluate(pipeline, data, progress=progress)
            write_tables(Evaluation(model=run.name, cases=cases), run / name)
    return {name: json.loads((run / name / "evaluation.json").read_text("utf-8")) for name in datasets}


def _is_evaluated(folder: Path, data: Path) -> bool:
    """Returns whether a folder has the evaluation of these very records."""
    file = folder / "evaluation.json"
    if not file.is_file():
        return False
    cases = json.loads(file.read_text("utf-8"))["cases"]
    asked = [(record.id, record.instruction) for record in edit_records(data)]
    return [(case["id"], case["instruction"]) for case in cases] == asked


def figures_of(evaluation: Mapping[str, Any], row: str) -> dict[str, float]:
    """Returns `success` and `l1` of a row of the evaluation's table, over all edits."""
    rows = evaluation["micro"]["rows"]
    return {"success": rows[row]["success"], "l1": rows[row]["l1"] / rows[COPY]["l1"]}


def summaries(runs: Sequence[Evaluations], row: str) -> dict[str, dict[str, Any]]:
    """Returns the summary over runs of each figure of a row, by dataset."""
    return {
        data: {figure: summary([figures_of(run[data], row)[figure] for run in runs]) for figure in FIGURES}
        for data in runs[0]
    }


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Returns mean, standard error (None of one value) and the values."""
    spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "standard_error": spread, "values": list(values)}


def to_markdown(results: Mapping[str, Any]) -> str:
    """Returns the table, kinds by datasets and figures."""
    steps, seeds, counts = results["steps"], results["seeds"], results["edits"]
    columns = [(data, figure) for data in counts for figure in FIGURES]
    heading = ["", *(f"{data}: {FIGURES[figure]}" for data, figure in columns)]
    lines = [heading, ["---", *["---:"] * len(columns)]]
    for kind, name in (*KINDS.items(), ("copy", "the photograph unchanged")):
        lines.append([name, *(_cell(figure, results[kind][data][figure]) for data, figure in columns)])
    edits = " and ".join(f"{count} {data}" for data, count in counts.items())
    about = (
        f"{steps} steps with each of {seeds} seeds, {edits} instructions; mean ± standard error over seeds."
    )
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"# Ablation\n\n{about}\n\n{table}\n"


def _cell(figure: str, values: Mapping[str, Any]) -> str:
    form = ".1%" if figure == "success" else ".3f"
    spread = values["standard_error"]
    return f"{values['mean']:{form}}" + ("" if spread is None else f" ± {spread:{form}}")


def run_ablation(configs: Mapping[Path, TrainConfig], datasets: Mapping[str, Path]) -> dict[str, Any]:
    """Trains and evaluates all runs; returns what `ablation.json` holds.

    Raises:
        MGIEError: a dataset has edits of unknown origin, which cannot be checked; or a run cannot be trained.
    """
    for data in datasets.values():
        if unknown := [record.id for record in edit_records(data) if "family" not in record.meta]:
            raise DataError(
                f"{data}: record {unknown[0]} is no made edit; expected what `mgie data synth` writes"
            )
    found = {run: evaluations(config, datasets) for run, config in configs.items()}
    first = next(iter(configs))
    results: dict[str, Any] = {
        "steps": configs[first].max_steps,
        "seeds": len({config.seed for config in configs.values()}),
        "edits": {name: len(edit_records(data)) for name, data in datasets.items()},
    }
    for kind in KINDS:
        own = [found[run] for run, config in configs.items() if config.model.conditioning == kind]
        results[kind] = summaries(own, MODEL)
    return results | {"copy": summaries([found[first]], COPY)}  # which is the same in every run


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, runs the ablation, prints its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="YAML file of stage joint")
    parser.add_argument("--data", type=Path, required=True, help="records with plain instructions")
    parser.add_argument("--vague", type=Path, required=True, help="records with vague instructions")
    parser.add_argument("--out", "-o", type=Path, required=True, help="folder for runs and table")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--steps", type=int, help="max_steps in place of the configuration's")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of mgie train")
    given = parser.parse_args(arguments)
    if given.seeds < 1:
        parser.error(f"--seeds is {given.seeds}; expected 1 or more")
    try:
        overrides = [*given.set, *([] if given.steps is None else [f"max_steps={given.steps}"])]
        configs = configurations(given.config, overrides, given.seeds, given.out)
        results = run_ablation(configs, {"plain": given.data, "vague": given.vague})
        table = to_markdown(results)
        write_whole(given.out / "ablation.json", (json.dumps(results, indent=1) + "\n").encode())
        write_whole(given.out / "ablation.md", table.encode())
    except MGIEError as error:
        parser.exit(2, f"ablation: {error}\n")
    print(table, end="")


if __name__ == "__main__":
    main()
