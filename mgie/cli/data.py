"""`mgie data`: datasets made and looked after."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from tqdm import tqdm

from mgie.cli.options import Debug
from mgie.errors import DataError

app = typer.Typer(help="Make and look after datasets.")


@app.callback()
def data() -> None:
    """Make and look after datasets."""


@app.command()
def synth(
    photographs: Annotated[Path, typer.Argument(help="Folder of photographs, your own or prepared ones.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the dataset.")],
    count: Annotated[int, typer.Option(min=1, help="Number of edits.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same dataset.")] = 0,
    families: Annotated[
        str | None, typer.Option(help="Families of edits with commas between; by default all.")
    ] = None,
    objects: Annotated[
        Path | None, typer.Option(help="Folder of objects to put on the photographs; by default none.")
    ] = None,
    vague_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the instructions that leave the edit open.")
    ] = 0.0,
    split: Annotated[
        Literal["train", "test"] | None,
        typer.Option(help="Only photographs of this split, and its wordings; by default all photographs."),
    ] = None,
    requests: Annotated[Path | None, typer.Option(help="JSON Lines file of real people's requests.")] = None,
    debug: Debug = False,
) -> None:
    """Make edit records with exact targets from photographs."""
    from mgie.data.photographs import read_photographs
    from mgie.data.synth import Objects, Requests, synthesise

    chosen = [p for p in read_photographs(photographs) if split in (None, p.split)]
    if not chosen:
        raise DataError(f"{photographs} has no photograph of the split '{split}'; leave --split out")
    made = synthesise(
        chosen,
        output,
        count,
        seed,
        families=families.split(",") if families else None,
        objects=Objects.read(objects) if objects else None,
        vague_rate=vague_rate,
        wording_split=split or "train",
        requests=Requests.read(requests) if requests else None,
    )
    num = sum(1 for _ in tqdm(made, total=count, desc="making edits", unit="edit"))
    print(f"saved: {num} records in {output}")
