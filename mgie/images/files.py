"""Pictures from and to files: upright RGB in, whole files out."""

import contextlib
import io
import os
import uuid
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mgie.errors import ImageError

MIN_SIDE = 16
"""Pictures with a shorter side hold too little to edit."""
MAX_PIXELS = 100_000_000
"""Larger pictures are refused before anything is decoded."""

_TOO_LARGE = f"expected at most {MAX_PIXELS // 10**6} megapixels: make it smaller"
_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".webp": ("WEBP", {"quality": 95}),
}


def open_image(source: str | Path | Image.Image) -> Image.Image:
    """Returns the picture upright (EXIF), in sRGB, as a new image of mode RGB without metadata.

    Of animations it is the first frame. Deep grey levels are scaled, not clipped. Transparent pictures keep
    their colours wherever anything of them shows, and are white where nothing does.

    Raises:
        ImageError: the file is missing, not a picture, damaged, has a side under 16 px, or has over 100
            megapixels.
    """
    if isinstance(source, Image.Image):
        return _decode(source, "the image")
    path = Path(source)
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder; expected a picture file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is the limit here
            image = Image.open(path)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist; check the path") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a picture; expected PNG, JPEG, WebP, TIFF or the like") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path} is too large; {_TOO_LARGE}") from None
    except Exception as error:  # decoders raise anything on damaged headers
        raise ImageError(f"{path} cannot be opened: {_line(error)}; expected a readable file") from error
    with image:
        return _decode(image, str(path))


def save_image(image: Image.Image, path: str | Path) -> None:
    """Writes `image` in the format that the suffix names, whole or not at all.

    The file has no metadata, so the same pixels give the same bytes. An existing file is replaced.

    Raises:
        ImageError: the suffix is unknown, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise ImageError(
            f"{path} has the unknown suffix '{path.suffix}'; expected one of {', '.join(_FORMATS)}"
        )
    kind, options = _FORMATS[path.suffix.lower()]
    partial = path.with_name(f".{uuid.uuid4().hex}.partial")
    encoded = io.BytesIO()
    try:
        bare = image.convert("RGB") if kind == "JPEG" else image.copy()
        bare.info = {}  # the encoders would write profiles and comments found there
        bare.save(encoded, kind, **options)
        partial.write_bytes(encoded.getbuffer())
        os.replace(partial, path)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be written: {_line(error)}; choose another place or name") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _decode(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{name} has {width}x{height} pixels; expected at least {MIN_SIDE} on each side")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} has {width}x{height} pixels; {_TOO_LARGE}")
    try:
        rgb = _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # decoders raise anything on damaged data
        raise ImageError(
            f"{name} cannot be read: {_line(error)}; it may be damaged: save it again"
        ) from error
    rgb.info = {}
    return rgb


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bit(np.asarray(image), image.mode)).convert("RGB")
    profile = image.info.get("icc_profile")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        image = Image.fromarray(np.where(rgba[..., 3:] > 0, rgba[..., :3], np.uint8(255)))
    elif image.mode != "CMYK":
        image = image.convert("RGB")
    return _to_srgb(image, profile).convert("RGB")


def _eight_bit(levels: np.ndarray, mode: str) -> np.ndarray:
    """Returns grey `levels` as uint8, scaled from the smallest usual range that holds them, or theirs."""
    levels = levels.astype(np.float64)
    low, high = levels.min(), levels.max()
    if not np.isfinite(high - low):
        raise ValueError("it holds values that are not finite")
    ends = {"F": (1, 255, 65535), "I": (255, 65535)}.get(mode, (65535,))
    start, end = (
        (0, next((end for end in ends if high <= end), high)) if low >= 0 else (low, max(high, low + 1))
    )
    return np.rint((levels - start) / (end - start) * 255).astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Returns an RGB or CMYK `image` as sRGB; a profile that is broken or does not fit is ignored."""
    if not profile:
        return image
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(embedded):
            return image
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, embedded, srgb, outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError):
        return image


def _line(error: Exception) -> str:
    """Returns what `error` says, in one line."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split()) or type(error).__name__
