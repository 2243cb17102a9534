"""Makes the README's pictures with a model: `python train/readme_pictures.py MODEL OUT_DIR`.

Ten photographs by ten instructions as a contact sheet, and a strip of before and after. The photographs come
with scikit-image, public domain or CC0 (the docstrings of `skimage.data` say whose they are), so that anybody
can make these pictures.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from skimage import data
from tqdm import tqdm

from mgie import MGIEPipeline
from mgie.evaluation.sheets import PAPER, write
from mgie.images import save_image

INSTRUCTIONS = (
    "make it red",
    "turn it into black and white",
    "make it look like night",
    "make it a pencil sketch",
    "add a vignette",
    "make it warmer",
    "put fog over it",
    "pixelate it",
    "invert the colours",
    "make it look like a sunset",
)
STRIP = (
    ("coffee", "make it blue"),
    ("rocket", "make it look like a sunset"),
    ("chelsea", "make it a pencil sketch"),
    ("astronaut", "turn it into black and white"),
)
CROPS = {
    "face": ("astronaut", (130, 0, 330, 200)),
    "shuttle": ("astronaut", (320, 90, 512, 400)),
    "eyes": ("chelsea", (80, 40, 330, 210)),
    "cup": ("coffee", (150, 40, 450, 330)),
}
"""Parts (left, upper, right, lower) of photographs, as photographs of their own."""
WHOLE = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina")
CELL, GAP = 160, 6
STRIP_CELL = (260, 200)


def photographs() -> dict[str, Image.Image]:
    """Returns ten photographs by name, with sides of at most 640 pixels."""
    found = {name: Image.fromarray(getattr(data, name)()).convert("RGB") for name in WHOLE}
    found |= {name: found[source].crop(box) for name, (source, box) in CROPS.items()}
    for picture in found.values():
        picture.thumbnail((640, 640))
    return found


def edit(
    pipeline: MGIEPipeline, pictures: Sequence[Image.Image], instructions: Sequence[str]
) -> list[tuple[Image.Image, str]]:
    """Returns the edited pictures with their expressive instructions; every edit has seed 0."""
    generators = [torch.Generator().manual_seed(0) for _ in pictures]
    output: Any = pipeline(list(pictures), list(instructions), generator=generators)
    return list(zip(output.images, output.expressive_instructions, strict=True))


def contact_sheet(pipeline: MGIEPipeline) -> Image.Image:
    """Returns a grid: a photograph in each row, first as it is, then after each instruction."""
    pictures, pitch, top = photographs(), CELL + GAP, 48
    height = top + sum(round(CELL * picture.height / picture.width) + GAP for picture in pictures.values())
    sheet = Image.new("RGB", (pitch * (len(INSTRUCTIONS) + 1) + GAP, height), PAPER)
    for column, words in enumerate(("photograph", *INSTRUCTIONS)):
        write(sheet, words, (GAP + column * pitch, GAP), CELL, 15)
    for picture in tqdm(pictures.values(), desc="contact sheet", unit="row"):
        edits = edit(pipeline, [picture] * len(INSTRUCTIONS), INSTRUCTIONS)
        size = CELL, round(CELL * picture.height / picture.width)
        for column, image in enumerate([picture, *(edited for edited, _ in edits)]):
            sheet.paste(image.resize(size, Image.Resampling.LANCZOS), (GAP + column * pitch, top))
        top += size[1] + GAP
    return sheet


def strip(pipeline: MGIEPipeline) -> Image.Image:
    """Returns photographs over their edits, cropped alike, and the instructions given and imagined below."""
    (width, height), found = STRIP_CELL, photographs()
    pictures, instructions = [found[name] for name, _ in STRIP], [words for _, words in STRIP]
    sheet = Image.new("RGB", ((width + GAP) * len(STRIP) + GAP, 2 * (height + GAP) + 110), PAPER)
    rows = zip(pictures, instructions, edit(pipeline, pictures, instructions), strict=True)
    for column, (picture, instruction, (edited, expressive)) in enumerate(rows):
        left = GAP + column * (width + GAP)
        for row, image in enumerate((picture, edited)):
            sheet.paste(ImageOps.fit(image, STRIP_CELL), (left, GAP + row * (height + GAP)))
        below = write(sheet, f'"{instruction}"', (left, 2 * (height + GAP) + GAP), width, 16)
        write(sheet, expressive, (left, below + 4), width, 13)
    return sheet


def main() -> None:
    """Writes `contact_sheet.jpg` and `before_after.jpg`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="built-in name or pipeline folder")
    parser.add_argument("out", type=Path, help="folder for the pictures")
    arguments = parser.parse_args()
    pipeline = MGIEPipeline.from_pretrained(arguments.model)
    pipeline.set_progress_bar_config(disable=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, make in (("before_after.jpg", strip), ("contact_sheet.jpg", contact_sheet)):
        save_image(make(pipeline), arguments.out / name)
        print(arguments.out / name)


if __name__ == "__main__":
    main()
