"""Converts files of MGIE-7B's real names and shapes, which hold nothing, and tells time and memory.

    python train/convert_dry_run.py FOLDER

FOLDER needs about 20 GB; of the source files most are sparse. `tokenizer.model` is a small one of our own.
"""

import argparse
import json
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, UNet2DConditionModel

from mgie.checkpoint.convert import EMBEDDINGS, FINAL_NORM, LM_HEAD
from mgie.checkpoint.tokenizer import added_tokens
from mgie.models.edit_head import EditHead
from tests.checkpoint.original import CLIP, LLAVA, UNET, real_size, write_json, write_sentencepiece

GIB = 1024**3
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
"""Stable Diffusion's autoencoder."""


def write_empty(path: Path, shapes: dict[str, tuple[int, ...]], ones: Sequence[str] = ()) -> int:
    """Writes a sparse safetensors file in half precision, all zeros but for `ones`; returns its size."""
    header, places, end = {}, {}, 0
    for name, shape in shapes.items():
        size = 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [end, end + size]}
        places[name], end = (end, size // 2), end + size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
        for name in ones:
            start, count = places[name]
            file.seek(8 + len(text) + start)
            file.write(torch.ones(count, dtype=torch.float16).numpy().tobytes())
    return 8 + len(text) + end


def write_released(folder: Path) -> int:
    """Writes empty files for all parts of MGIE-7B; returns the size of the largest one."""
    for name in ("llava", "clip", "mgie", "diffusion/unet"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(folder / "llava" / "config.json", LLAVA)
    write_json(folder / "clip" / "config.json", {"vision_config": CLIP})
    write_json(folder / "clip" / "preprocessor_config.json", {"size": 224, "crop_size": 224})
    write_json(folder / "diffusion" / "unet" / "config.json", UNET)
    num_tokens = write_sentencepiece(folder / "llava" / "tokenizer.model") + len(added_tokens())

    language = [item for item in real_size().items() if item[0].startswith("model.")]
    vision = dict(item for item in real_size().items() if item[0].startswith("vision_model."))
    sizes, weight_map = [write_empty(folder / "clip" / "model.safetensors", vision)], {}
    for i, part in enumerate((language[:220], language[220:])):  # as the released one, 10 GB and 4 GB
        name, shapes = f"model-{i + 1:05d}-of-00002.safetensors", dict(part)
        sizes.append(
            write_empty(folder / "llava" / name, shapes, ones=[FINAL_NORM] if FINAL_NORM in shapes else [])
        )
        weight_map |= dict.fromkeys(shapes, name)
    write_json(folder / "llava" / "model.safetensors.index.json", {"weight_map": weight_map})

    half: dict[str, Any] = {"dtype": torch.float16}
    trained = {name: torch.zeros(num_tokens, 4096, **half) for name in (EMBEDDINGS, LM_HEAD)}
    with torch.device("meta"):
        edit_head = EditHead()
        unet: Any = UNet2DConditionModel.from_config({**UNET, "in_channels": 8})
    trained |= {
        f"edit_head.{name}": torch.zeros(t.shape, **half) for name, t in edit_head.state_dict().items()
    }
    torch.save(trained, folder / "mgie" / "mllm.pt")
    torch.save(
        {n: torch.zeros(t.shape, **half) for n, t in unet.state_dict().items()}, folder / "mgie" / "unet.pt"
    )
    vae = AutoencoderKL(**VAE)
    vae.save_pretrained(folder / "diffusion" / "vae")
    EulerAncestralDiscreteScheduler().save_pretrained(folder / "diffusion" / "scheduler")
    return max(sizes)


def main() -> None:
    """Reads the command line, converts and prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="new folder for source and result")
    folder = parser.parse_args().folder
    largest = write_released(folder)
    # A process of its own, so that its peak is the conversion's alone.
    command = [sys.executable, "-c", "from mgie.cli import main; raise SystemExit(main())", "convert"]
    command += [f"--{name}={folder / name}" for name in ("llava", "mgie", "diffusion")]
    begun = time.perf_counter()
    subprocess.run([*command, f"--vision-tower={folder / 'clip'}", "-o", str(folder / "model")], check=True)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    written = sum(path.stat().st_size for path in (folder / "model").rglob("*") if path.is_file())
    print(f"largest source file {largest / GIB:.2f} GiB, peak memory {peak / GIB:.2f} GiB")
    print(f"written {written / GIB:.2f} GiB in {seconds:.0f} s, {written / GIB / seconds:.2f} GiB/s")


if __name__ == "__main__":
    main()
