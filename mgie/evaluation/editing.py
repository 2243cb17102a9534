"""The editing suite: what users get back, on photographs of odd sizes and kinds; what a second run costs.

Region and object edits are made by hand here, with a known mask, and go through the model's autoencoder: what
is measured is the way back, not whether the model paints them.
"""

import io
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms, ImageDraw

from mgie.data.synth import as_pixels
from mgie.data.synth.measure import Array, luminance
from mgie.evaluation.behaviour import different_photographs, finding
from mgie.evaluation.metrics import sharpness
from mgie.evaluation.suites import Progress
from mgie.evaluation.tables import Finding
from mgie.images import Photo, encode_image, open_photo, return_to_native
from mgie.pipeline import MGIEPipeline
from mgie.session import EditSession

PHOTOGRAPHS = 20
"""Number of photographs that the suite looks at."""
_FORMS: dict[str, tuple[int, int]] = {
    "plain": (1537, 1023),
    "rotated": (1537, 1023),
    "wide": (6000, 200),
    "grey": (801, 1200),
    "transparent": (641, 480),
    "profile": (1111, 777),
}
"""Kinds of files and their (width, height); "rotated" is shown as a portrait."""
_DRIFT = 0.008
"""Standard deviation of a smooth change that a painted picture shows where nothing was edited."""
_PEAK = 0.4
"""Share of the highest correlation from which on two shifts are as good."""
_RUNS = 7


def check_editing(
    pipeline: MGIEPipeline,
    data: str | Path,
    *,
    seed: int = 0,
    photographs: int = PHOTOGRAPHS,
    scale: float = 1.0,
    progress: Progress | None = None,
) -> list[Finding]:
    """Returns what was found on the first different photographs of a dataset, each brought into an odd form.

    Args:
        pipeline: the model.
        data: folder with `records.jsonl`, or such a file; only its source pictures are used.
        seed: of the photograph in row i: seed + i.
        photographs: how many of them, at most.
        scale: of the sizes of the photographs.
        progress: called with the number of photographs done and of all photographs.

    Raises:
        MGIEError: if the dataset has no edit records, or a picture cannot be read.
    """
    pictures = different_photographs(data, photographs)
    results = []
    for number, (picture, form) in enumerate(zip(pictures, itertools.cycle(_FORMS), strict=False)):
        upright, file = _file(picture, form, scale)
        results.append(_check(pipeline, upright, open_photo(file), pictures, number, seed + number))
        if progress is not None:
            progress(number + 1, len(pictures))
    num = len(results)
    return [
        finding(
            f"size and orientation exact, of {num} photographs", sum(r.right for r in results), at_least=num
        ),
        finding("shift under a change of tone, most, in pixels", max(r.shift for r in results), at_most=0.1),
        finding(
            "shift of the unchanged part, most, in pixels", max(r.shift_outside for r in results), at_most=0.1
        ),
        finding(
            f"same bytes outside a user's mask, of {num}", sum(r.same_outside for r in results), at_least=num
        ),
        finding(
            "PSNR outside the true mask of made edits, least, in dB",
            min(r.psnr for r in results),
            at_least=40,
        ),
        finding("sharpness kept by a change of tone, least", min(r.sharpness for r in results), at_least=0.9),
        _running_again(pipeline, pictures[0], seed),
    ]


@dataclass(frozen=True)
class _Result:
    """What was measured on one photograph."""

    right: bool
    shift: float
    shift_outside: float
    same_outside: bool
    psnr: float
    sharpness: float


def _check(
    pipeline: MGIEPipeline,
    upright: Image.Image,
    photo: Photo,
    others: list[Image.Image],
    number: int,
    seed: int,
) -> _Result:
    """Edits one photograph as a user would, and checks what came back.

    Args:
        pipeline: the model.
        upright: the photograph as it should be seen.
        photo: as it was read from its file.
        others: where made edits take objects from.
        number: even numbers get a region edit, odd ones an object edit.
        seed: of the noise and of the masks.
    """
    mask = _ellipse(photo.image.size, seed)
    outside, beside = np.asarray(mask) == 0, _beside(mask)
    tone, masked = (EditSession(pipeline, photo, "evaluated", keep_prompts=False) for _ in range(2))
    tone.edit("make it darker", seed=seed)
    masked.edit("make it red", seed=seed, mask=mask)
    result, metadata = masked.result()
    saved = Image.open(io.BytesIO(encode_image(result, ".png", metadata)))
    before = photo.with_edit(photo.image)
    target = _made(photo.image, mask, others[(number + 1) % len(others)] if number % 2 else None)
    made = _returned(pipeline, photo.image, target, seed)
    error = (as_pixels(made) - as_pixels(photo.image))[outside]
    return _Result(
        right=tone.image.size == upright.size and _looks_alike(upright, photo.image),
        shift=_shift(as_pixels(photo.image), as_pixels(tone.image)),
        shift_outside=_shift(as_pixels(photo.image)[beside], as_pixels(made)[beside]),
        same_outside=np.array_equal(np.asarray(saved)[outside], np.asarray(before)[outside]),
        psnr=float(-10 * np.log10(np.mean(error**2) + 1e-12)),
        sharpness=sharpness(as_pixels(tone.image)) / sharpness(as_pixels(photo.image)),
    )


def _file(picture: Image.Image, form: str, scale: float) -> tuple[Image.Image, Image.Image]:
    """Returns the picture at the size of a form, and as opened from a file of that form."""
    width, height = (max(round(side * scale), 16) for side in _FORMS[form])
    picture = _panorama(picture, width, height) if form == "wide" else picture.resize((width, height))
    encoded, kind, options = io.BytesIO(), "PNG", {}
    upright = stored = picture
    if form == "rotated":
        upright = picture.transpose(Image.Transpose.ROTATE_270)
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    elif form == "plain":
        kind, options = "JPEG", {"quality": 95}
    elif form == "grey":
        upright = stored = picture.convert("L")
    elif form == "transparent":
        stored = picture.convert("RGBA")
        stored.putalpha(Image.linear_gradient("L").resize(picture.size))
    elif form == "profile":
        options["icc_profile"] = _swapped_profile()
        upright = Image.merge("RGB", [picture.getchannel(channel) for channel in "GRB"])
    stored.save(encoded, kind, **options)
    return upright.convert("RGB"), Image.open(encoded)


def _panorama(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Returns the picture side by side with its mirror image and so on: detail as in a real panorama."""
    tile = picture.resize((max(round(picture.width * height / picture.height), 1), height))
    tiles, panorama = (
        (tile, tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        Image.new("RGB", (width, height)),
    )
    for number, left in enumerate(range(0, width, tile.width)):
        panorama.paste(tiles[number % 2], (left, 0))
    return panorama


def _swapped_profile() -> bytes:
    """Returns a colour profile with sRGB's red and green exchanged: nobody can ignore it unnoticed."""
    raw = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for encoding in ("ascii", "utf-16-be"):
        raw = raw.replace("sRGB".encode(encoding), "swap".encode(encoding))
    return raw.replace(b"rXYZ", b"....").replace(b"gXYZ", b"rXYZ").replace(b"....", b"gXYZ")


def _ellipse(size: tuple[int, int], seed: int) -> Image.Image:
    """Returns a mask: a white ellipse of a fifth to a third of each side, somewhere."""
    width, height = size
    mask, rng = Image.new("L", size), np.random.default_rng(seed)
    across, down = rng.uniform(0.2, 0.35) * width, rng.uniform(0.2, 0.35) * height
    left, top = rng.uniform(0.1, 0.5) * width, rng.uniform(0.1, 0.5) * height
    ImageDraw.Draw(mask).ellipse((left, top, left + across, top + down), fill=255)
    return mask


def _made(picture: Image.Image, mask: Image.Image, other: Image.Image | None) -> Image.Image:
    """Returns an exact edit of what the mask shows: red, or with another picture's content."""
    if other is None:
        light = picture.convert("L")
        content = Image.merge("RGB", [light, dark := light.point([level // 3 for level in range(256)]), dark])
    else:
        content = other.resize(picture.size)
    return Image.composite(content, picture, mask)


def _returned(pipeline: MGIEPipeline, picture: Image.Image, target: Image.Image, seed: int) -> Image.Image:
    """Returns a target after the autoencoder, with a painted picture's drift, and the way back."""
    source, painted = (pipeline.encode_image(image).decoded for image in (picture, target))
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray((128 + 40 * rng.standard_normal((6, 8, 3))).clip(0, 255).astype(np.uint8))
    drift = as_pixels(coarse.resize(painted.shape[1::-1], Image.Resampling.BICUBIC)) - 0.5
    painted = (painted + drift * (_DRIFT / drift.std())).clip(0, 1)
    return return_to_native(picture, source, painted.astype(np.float32))


def _shift(a: Array, b: Array) -> float:
    """Returns how far apart two pictures of one scene are, in pixels, by phase correlation.

    The peak gives whole pixels; parts of one are the slope of the phase over the frequencies at which the
    pictures have something to compare (Stone, Orchard, Chang and Martucci, 2001).

    Args:
        a: (H, W, 3) in [0, 1].
        b: the same.
    """
    planes = [luminance(picture) for picture in (a, b)]
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in planes[0].shape))
    spectra = [np.fft.fft2((plane - np.average(plane, weights=window)) * window) for plane in planes]
    cross = spectra[1] * spectra[0].conj()
    strength = np.abs(cross)
    surface = np.fft.ifft2(cross / np.maximum(strength, 1e-12)).real
    # A panorama of mirror images is alike after each two of them: the least shift counts.
    peaks = np.argwhere(surface >= _PEAK * surface.max())
    halves = np.array(surface.shape) // 2
    shifts = (peaks + halves) % surface.shape - halves
    whole = shifts[np.hypot(*shifts.T).argmin()]

    frequencies = np.stack(np.meshgrid(*map(np.fft.fftfreq, surface.shape), indexing="ij"), axis=-1)
    used = (np.abs(frequencies).max(-1) < 0.25) & (strength > 1e-4 * strength.max())
    phase = np.angle(cross[used] * np.exp(2j * np.pi * frequencies[used] @ whole))
    part = np.linalg.lstsq(-2 * np.pi * frequencies[used], phase, rcond=None)[0]
    return float(np.hypot(*(whole + part)))


def _beside(mask: Image.Image) -> tuple[slice, slice]:
    """Returns the largest rectangle to one side of what the mask shows."""
    left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
    everywhere = slice(None)
    sides = {
        left * mask.height: (everywhere, slice(None, left)),
        (mask.width - right) * mask.height: (everywhere, slice(right, None)),
        top * mask.width: (slice(None, top), everywhere),
        (mask.height - bottom) * mask.width: (slice(bottom, None), everywhere),
    }
    return sides[max(sides)]


def _looks_alike(a: Image.Image, b: Image.Image) -> bool:
    return a.size == b.size and float(np.abs(as_pixels(a) - as_pixels(b)).mean()) < 0.03


def _running_again(pipeline: MGIEPipeline, picture: Image.Image, seed: int) -> Finding:
    """Returns what running again with other words costs, over denoising and decoding of a first edit."""
    first, again = [], []

    def painted(image: Any, imagination: Any) -> float:
        generator = torch.Generator().manual_seed(seed)
        seconds = pipeline(image, imagination=imagination, generator=generator).seconds
        return seconds["paint"] + seconds["decode"]

    for run in range(_RUNS):
        imagination = pipeline.encode_instruction(picture, "make it red", keep_prompts=True)
        first.append(painted(picture, imagination))
        encoded = pipeline.encode_image(picture)
        words = f"The whole scene would turn a clear blue, as if seen through blue glass {run}."
        start = time.perf_counter()
        other = pipeline.reimagine(imagination, words)
        again.append(time.perf_counter() - start + painted(encoded, other))
    name = "running again with other words, over denoising and decoding of a first edit"
    return finding(name, median(again) / median(first), at_most=1.1)
