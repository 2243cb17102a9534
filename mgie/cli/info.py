"""`mgie info`: what a model is made of, read from its files without loading it."""

import json
import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from mgie.cli.options import Debug, Json
from mgie.errors import CheckpointError
from mgie.model_folder import INDEX_FILE, PROVENANCE_FILE, RATES, by_rate, find_model_folder, read_json

_DEFAULTS = (
    "num_inference_steps",
    "guidance_scale",
    "image_guidance_scale",
    "num_visual_tokens",
    "conditioning",
    "copy_bias",
)


def info(
    model: Annotated[
        str, typer.Argument(help="Built-in name, pipeline folder, or hub id 'owner/name'.")
    ] = "mgie-tiny",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the parts of a model, its defaults, and where it comes from."""
    report = describe(model)
    if as_json:
        print(json.dumps(report))
        return
    print(f"{report['model']}  {report['folder']}")
    for name, part in report["parts"].items():
        size = f"{part['parameters'] / 1e6:9.2f} M  {part['bytes'] / 1e6:8.1f} MB" if part["bytes"] else ""
        print(f"  {name:<10} {part['class']:<32} {size if part['found'] else 'missing'}".rstrip())
    print(f"  {'in all':<43} {report['parameters'] / 1e6:9.2f} M  {report['bytes'] / 1e6:8.1f} MB")
    print("working size  " + ", ".join(f"{key} {value}" for key, value in report["working_size"].items()))
    print("defaults      " + ", ".join(f"{key} {value}" for key, value in report["defaults"].items()))
    print(f"licence       {report['licence'] or 'not stated'}")
    for line in _rate_lines(report["provenance"].pop(RATES, {})):
        print(line)
    for key, value in report["provenance"].items():
        text = value if isinstance(value, str) else json.dumps(value)
        print(f"{key:<13} {text if len(text) <= 200 else text[:197] + '...'}")


def _rate_lines(rates: dict[str, dict[str, float]]) -> Iterator[str]:
    """Yields what the model can do, the surest first: a line for each rate, with its families."""
    for number, (rate, names) in enumerate(by_rate(rates).items()):
        families = textwrap.fill(", ".join(names), 90, subsequent_indent=" " * 20)
        label = "not yet" if rate == 0 else "can do" if number == 0 else ""
        yield f"{label:<13} {rate:4.0%}  {families}"


def describe(model: str) -> dict[str, Any]:
    """Returns what the files of a model say: parts, sizes, defaults, and provenance.

    Raises:
        CheckpointError: there is no such model, or a file of it cannot be read.
    """
    folder = find_model_folder(model)
    index = read_json(folder / INDEX_FILE)
    provenance = read_json(folder / PROVENANCE_FILE) if (folder / PROVENANCE_FILE).is_file() else {}
    parts = {
        name: {"class": entry[-1], "found": (folder / name).is_dir(), **_weights(folder / name)}
        for name, entry in index.items()
        if isinstance(entry, list) and entry
    }
    return {
        "model": model,
        "folder": str(folder),
        "parts": parts,
        "parameters": sum(part["parameters"] for part in parts.values()),
        "bytes": sum(part["bytes"] for part in parts.values()),
        "working_size": index.get("working_size") or {},
        "defaults": {name: index[name] for name in _DEFAULTS if name in index},
        "licence": provenance.pop("licence", None),
        "provenance": provenance,
    }


def _weights(part: Path) -> dict[str, Any]:
    """Returns number of parameters, bytes, and number types of the safetensors files of a part."""
    parameters, size, types = 0, 0, set()
    for file in sorted(part.glob("*.safetensors")):
        tensors = _read_header(file)
        parameters += sum(math.prod(tensor["shape"]) for tensor in tensors)
        types |= {tensor["dtype"] for tensor in tensors}
        size += file.stat().st_size
    return {"parameters": parameters, "bytes": size, "dtypes": sorted(types)}


def _read_header(file: Path) -> list[dict[str, Any]]:
    """Returns dtype and shape of each tensor, from the JSON header at the beginning of the file."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, file.stat().st_size)))
        return [tensor for name, tensor in header.items() if name != "__metadata__"]
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{file} is not a safetensors file: {error}; copy the model again, whole"
        ) from error
