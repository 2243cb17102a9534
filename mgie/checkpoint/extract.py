"""From a training run to a model that others load: the pipeline in one type, with its provenance."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mgie.errors import CheckpointError
from mgie.model_folder import INDEX_FILE, PROVENANCE_FILE, replaced_folder
from mgie.pipeline import MGIEPipeline


def export_pipeline(
    source: str | Path, out: str | Path, dtype: torch.dtype, provenance: dict[str, Any]
) -> Path:
    """Writes the pipeline `source` as a model folder, whole or not at all, and returns the folder.

    Args:
        source: pipeline folder, of a training run for instance (RUN/pipeline).
        out: folder to write; an older model there is replaced.
        dtype: type of all weights, `torch.float16` for instance.
        provenance: what `mgie.json` says: training configuration, data, licence. The type and the SHA-256 of
            each file are added as `dtype` and `sha256`.

    Raises:
        CheckpointError: the pipeline cannot be loaded, a weight is too large for `dtype`, or `out` is
            something else than a model or cannot be written.
    """
    source, out = Path(source), Path(out)
    if out.exists() and not (out / INDEX_FILE).is_file():
        raise CheckpointError(f"{out} exists and is not a model folder; choose another one")
    pipeline = MGIEPipeline.from_pretrained(source)
    _cast(pipeline, dtype)
    with replaced_folder(out) as new:
        pipeline.save_pretrained(new)
        for path in (new / INDEX_FILE, *new.glob("*/config.json")):
            _forget_origin(path)
        files = sorted(path for path in new.rglob("*") if path.is_file())
        sha256 = {path.relative_to(new).as_posix(): _sha256(path) for path in files}
        values = {**provenance, "dtype": str(dtype).removeprefix("torch."), "sha256": sha256}
        (new / PROVENANCE_FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return out


def _cast(pipeline: MGIEPipeline, dtype: torch.dtype) -> None:
    for name, part in pipeline.components.items():
        if not isinstance(part, nn.Module):
            continue
        for key, tensor in part.to(dtype).state_dict().items():
            if not tensor.isfinite().all():
                raise CheckpointError(
                    f"{name}: tensor '{key}' is too large for {dtype}; take torch.bfloat16 or float32"
                )


def _forget_origin(path: Path) -> None:
    """Takes out of a JSON file where parts were loaded from, which are folders of one machine."""

    def without_origin(values: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if key != "_name_or_path"}

    values = json.loads(path.read_text("utf-8"), object_hook=without_origin)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
