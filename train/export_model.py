"""Makes a model folder in half precision of a finished training run.

    python train/export_model.py RUN OUT --licence TEXT --data TEXT [--data TEXT ...]

RUN is the run folder of stage `joint`. OUT/mgie.json says how the model was trained and what with.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

from mgie.checkpoint.extract import export_pipeline
from mgie.errors import MGIEError


def without_folders(value: Any) -> Any:
    """Returns the values with absolute paths cut to their last name; the rest is this machine's."""
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def main() -> None:
    """Reads the command line and writes the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder of stage joint")
    parser.add_argument("out", type=Path, help="model folder to write; an older model there is replaced")
    parser.add_argument("--licence", required=True, help="licence of the weights")
    parser.add_argument("--data", action="append", required=True, help="what was trained on; may be repeated")
    arguments = parser.parse_args()
    provenance = {
        "licence": arguments.licence,
        "data": arguments.data,
        "training_steps": json.loads((arguments.run / "checkpoint" / "step.json").read_text())["step"],
        "training_config": without_folders(
            yaml.safe_load((arguments.run / "config.yaml").read_text("utf-8"))
        ),
    }
    try:
        print(export_pipeline(arguments.run / "pipeline", arguments.out, torch.float16, provenance))
    except MGIEError as error:
        sys.exit(f"export_model: {error}")


if __name__ == "__main__":
    main()
