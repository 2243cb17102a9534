"""Pictures from files: upright RGB for the model, and all that has to come back with the result."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from mgie.errors import ImageError
from mgie.images.provenance import Edit, read_edits, with_edits

MIN_SIDE = 16
"""Pictures with a shorter side hold too little to edit."""
MAX_PIXELS = 100_000_000
"""Larger pictures are refused before anything is decoded."""

_ABOUT_THE_PHOTO = (
    *(ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.Software),
    *(ExifTags.Base.DateTime, ExifTags.Base.Artist, ExifTags.Base.HostComputer, ExifTags.Base.Rating),
    *(ExifTags.Base.Copyright, ExifTags.Base.XPTitle, ExifTags.Base.XPComment, ExifTags.Base.XPAuthor),
    *(ExifTags.Base.XPKeywords, ExifTags.Base.XPSubject),
)
"""EXIF entries that are true of the result too. Orientation is not, nor how a TIFF lays out its strips."""
_NESTED = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says beside its pixels."""

    icc_profile: bytes | None = None
    """Colour profile, where the pixels are not plain sRGB."""
    exif: bytes | None = None
    """Of an upright picture; no thumbnail, which would show the picture before the edit, no maker's notes."""
    xmp: str | None = None
    dpi: tuple[float, float] | None = None

    def stripped(self) -> "Metadata":
        """Returns only what the colours need."""
        return Metadata(icc_profile=self.icc_profile)

    def noted(self, edits: Sequence[Edit]) -> "Metadata":
        """Returns this with a note of these edits after those that it tells of already."""
        return replace(self, xmp=with_edits(self.xmp, [*read_edits(self.xmp), *edits]))


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A picture as it came: what is edited, and what has to come back with the edit."""

    image: Image.Image
    """Upright RGB in sRGB, without metadata: what is edited."""
    native: Image.Image
    """The same pixels in the file's own colours; `image` itself where these are sRGB."""
    alpha: Image.Image | None = None
    """Opacity, mode L."""
    metadata: Metadata = field(default_factory=Metadata)

    def with_edit(self, edited: Image.Image) -> Image.Image:
        """Returns the edit in the file's own colours and with its transparency.

        Pixels that equal those of `image`, and those that nobody sees, are the file's own.

        Args:
            edited: RGB in sRGB, of the size of `image`.

        Raises:
            ImageError: it has another size.
        """
        if edited.size != self.image.size:
            raise ImageError(f"the edit has {edited.size} pixels; expected the photo's {self.image.size}")
        if self.native is self.image and self.alpha is None:
            return edited
        changed = (np.asarray(edited) != np.asarray(self.image)).any(axis=2)
        if self.alpha is not None:
            changed &= np.asarray(self.alpha) > 0
        if self.native is not self.image:
            edited = _converted(edited, self.metadata.icc_profile, back=True) or edited
        result = Image.composite(edited, self.native, Image.fromarray(changed))
        if self.alpha is not None:
            result.putalpha(self.alpha)
        return result

    def result(
        self, edited: Image.Image, edits: Sequence[Edit] = (), *, strip_metadata: bool = False
    ) -> tuple[Image.Image, Metadata]:
        """Returns what is handed out: the edit, see `with_edit`, and the metadata that go with it.

        Args:
            edited: RGB in sRGB, of the size of `image`.
            edits: what made it, for the note; none for no note.
            strip_metadata: whether those of the photo are left out.

        Raises:
            ImageError: it has another size.
        """
        metadata = self.metadata.stripped() if strip_metadata else self.metadata
        return self.with_edit(edited), metadata.noted(edits) if edits else metadata

    def resized(self, width: int, height: int) -> "Photo":
        """Returns the photo as large as fits into a box; its aspect stays.

        Raises:
            ImageError: a side would be shorter than 16 px.
        """
        scale = min(width / self.image.width, height / self.image.height)
        size = round(self.image.width * scale), round(self.image.height * scale)
        if min(size) < MIN_SIDE or size[0] * size[1] > MAX_PIXELS:
            raise ImageError(
                f"in {width}x{height} the photo would have {size[0]}x{size[1]} pixels; expected "
                f"{MIN_SIDE} or more on each side, and at most {MAX_PIXELS // 10**6} megapixels"
            )
        image = self.image.resize(size, Image.Resampling.LANCZOS)
        native = image if self.native is self.image else self.native.resize(size, Image.Resampling.LANCZOS)
        alpha = self.alpha and self.alpha.resize(size, Image.Resampling.LANCZOS)
        return replace(self, image=image, native=native, alpha=alpha)


def open_photo(
    source: str | Path | BinaryIO | Image.Image,
    *,
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] | None = None,
) -> Photo:
    """Returns the picture upright (EXIF), with its transparency, colour profile and metadata.

    Of animations it is the first frame. Deep grey levels are scaled, not clipped. For the model, transparent
    pictures keep their colours wherever anything of them shows, and are white where nothing does.

    Args:
        source: a file, one that is open, or a picture.
        max_pixels: a larger picture is refused before anything of it is decoded.
        formats: Pillow's names of the formats that are read; by default all.

    Raises:
        ImageError: the file is missing, not a picture, damaged, has a side under 16 px, or too many pixels.
    """
    if isinstance(source, Image.Image):
        return _decode(source, "the image", max_pixels)
    file = Path(source) if isinstance(source, str | Path) else source
    path = file if isinstance(file, Path) else "the picture"
    try:
        if isinstance(path, Path) and path.is_dir():
            raise ImageError(f"{path} is a folder; expected a picture file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is the limit here
            image = Image.open(file, formats=formats)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path} does not exist; check the path") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a picture; expected PNG, JPEG, WebP, TIFF or the like") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{path} is too large; {_fewer(max_pixels)}") from None
    except Exception as error:  # decoders raise anything on damaged headers
        raise ImageError(f"{path} cannot be opened: {reason(error)}; expected a readable file") from error
    with image:
        return _decode(image, str(path), max_pixels)


def open_image(source: str | Path | Image.Image) -> Image.Image:
    """Returns the picture upright, in sRGB, as a new image of mode RGB without metadata: see `open_photo`."""
    return open_photo(source).image


def reason(error: Exception) -> str:
    """Returns what an error says, in one line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split()) or type(error).__name__


def _fewer(max_pixels: int) -> str:
    return f"expected at most {max_pixels / 10**6:.3g} megapixels: make it smaller"


def _decode(image: Image.Image, name: str, max_pixels: int) -> Photo:
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{name} has {width}x{height} pixels; expected at least {MIN_SIDE} on each side")
    if width * height > max_pixels:
        raise ImageError(f"{name} has {width}x{height} pixels; {_fewer(max_pixels)}")
    try:
        image.load()
        return _read(_upright(image), _metadata(image))
    except Exception as error:  # decoders raise anything on damaged data
        raise ImageError(
            f"{name} cannot be read: {reason(error)}; it may be damaged: save it again"
        ) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are whole, the EXIF block is not
        return image


def _read(image: Image.Image, metadata: Metadata) -> Photo:
    alpha, profile = None, metadata.icc_profile
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = Image.fromarray(_eight_bit(np.asarray(image), image.mode)).convert("RGB")
        return Photo(image=grey, native=grey, metadata=replace(metadata, icc_profile=None))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        alpha, native = rgba.getchannel("A"), rgba.convert("RGB")
        seen = Image.composite(native, Image.new("RGB", native.size, "white"), alpha.point(_ANY_OPACITY))
    else:
        native = seen = image if image.mode == "CMYK" else image.convert("RGB")
    converted = _converted(seen, profile)
    if seen.mode == "RGB" and converted is not None:
        image = converted
    else:  # ink becomes sRGB; a profile that is broken or does not fit is ignored
        metadata = replace(metadata, icc_profile=profile if _is_srgb(profile, seen.mode) else None)
        image = (converted or seen).convert("RGB")
        native = image if alpha is None else native
    for picture in (image, native):
        picture.info = {}
    return Photo(image=image, native=native, alpha=alpha, metadata=metadata)


_ANY_OPACITY = [0] + [255] * 255
"""Lookup table: whether anything of a pixel shows."""


def _metadata(image: Image.Image) -> Metadata:
    """Returns what an image file says of itself; what cannot be read is left out."""
    info, kept = image.info, Image.Exif()
    try:
        exif = image.getexif()
        for tag in (*_ABOUT_THE_PHOTO, *_NESTED):
            if tag in exif:
                kept[tag] = dict(exif.get_ifd(tag)) if tag in _NESTED else exif[tag]
        for tag in (ExifTags.IFD.MakerNote, ExifTags.IFD.Interop):  # their offsets would be wrong
            kept.get(ExifTags.IFD.Exif, {}).pop(tag, None)
        encoded = kept.tobytes() if len(kept) else None
    except Exception:  # whatever a damaged block makes its reader raise
        encoded = None
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp")
    if isinstance(xmp, bytes):
        xmp = xmp.decode("utf-8", errors="replace")
    return Metadata(
        icc_profile=info.get("icc_profile") or None,
        exif=encoded,
        xmp=xmp if isinstance(xmp, str) else None,
        dpi=info.get("dpi"),
    )


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


def _is_srgb(profile: bytes | None, mode: str) -> bool:
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        return mode in ("RGB", "RGBA") and "sRGB" in ImageCms.getProfileDescription(embedded)
    except (ImageCms.PyCMSError, OSError):
        return False


def _converted(image: Image.Image, profile: bytes | None, back: bool = False) -> Image.Image | None:
    """Returns an RGB or CMYK image as sRGB, or `back` from it; None where there is nothing to convert.

    That is: no profile, sRGB's own, or one that is broken or does not fit the picture.
    """
    if not profile or _is_srgb(profile, image.mode):
        return None
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        ends = (srgb, embedded) if back else (embedded, srgb)
        return ImageCms.profileToProfile(image, *ends, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
