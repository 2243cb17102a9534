"""Pictures to files: encoded with their metadata, and written whole or not at all."""

import io
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from mgie.errors import ImageError
from mgie.files import write_whole
from mgie.images.photo import Metadata, reason

_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": "4:4:4"}),
    ".webp": ("WEBP", {"quality": 95}),
}
_JPEG_BLOCK = 65_500
"""Bytes that one block of a JPEG's metadata can hold; a longer one is left out."""


def save_image(image: Image.Image, path: str | Path, metadata: Metadata | None = None) -> None:
    """Writes `image` in the format that the suffix names, whole or not at all.

    The same pixels and metadata give the same bytes. An existing file is replaced.

    Args:
        image: RGB, RGBA or L; JPEG shows a transparent picture on white.
        path: the suffix is .png, .jpg, .jpeg or .webp.
        metadata: what to write beside the pixels; none = nothing.

    Raises:
        ImageError: the suffix is unknown, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise ImageError(
            f"{path} has the unknown suffix '{path.suffix}'; expected one of {', '.join(_FORMATS)}"
        )
    try:
        write_whole(path, encode_image(image, path.suffix, metadata))
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{path} cannot be written: {reason(error)}; choose another place or name"
        ) from error


def encode_image(image: Image.Image, suffix: str = ".png", metadata: Metadata | None = None) -> bytes:
    """Returns the bytes of a file: see `save_image`."""
    kind, options = _FORMATS[suffix.lower()]
    if kind == "JPEG":
        image = _on_white(image) if image.mode == "RGBA" else image.convert("RGB")
    bare, encoded = image.copy(), io.BytesIO()
    bare.info = {}  # the encoders would write profiles and comments found there
    bare.save(encoded, kind, **options, **_blocks(kind, metadata or Metadata()))
    return encoded.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _blocks(kind: str, metadata: Metadata) -> dict[str, Any]:
    """Returns the metadata as the encoder of this format takes them."""
    xmp = metadata.xmp and metadata.xmp.encode()
    blocks: dict[str, Any] = {"icc_profile": metadata.icc_profile, "exif": metadata.exif, "xmp": xmp}
    if kind == "JPEG":
        blocks |= {name: None for name in ("exif", "xmp") if blocks[name] and len(blocks[name]) > _JPEG_BLOCK}
    if kind == "PNG" and metadata.xmp:
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", metadata.xmp)
        blocks["pnginfo"] = texts
    if kind != "WEBP":
        blocks["dpi"] = metadata.dpi
    return {name: value for name, value in blocks.items() if value}
