"""From the form of a request to edits, and from results to the answer: all that reads and writes pictures."""

import base64
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from PIL import Image, ImageChops
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile

from mgie.errors import ConfigError, ImageError, MGIEError
from mgie.images import Edit, Photo, encode_image, open_mask, open_photo
from mgie.prompts import checked_words
from mgie.sampling import Sampling
from mgie.server.batching import EditResult, EditTask
from mgie.server.errors import APIError, api_error

MAX_IMAGES = 16
"""Pictures in one request, as in OpenAI's API."""
MAX_FIELD_BYTES = 64 * 1024
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
"""Others are read by Pillow too, some of them by other programs: not from strangers."""
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_IMAGE_FIELDS = ("image", "image[]")


class EditForm(BaseModel):
    """The fields of an edit beside its pictures: OpenAI's, then our own."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: str = Field(description="What to do, for instance 'make it red'.")
    model: str | None = Field(None, description="The served model's name.")
    n: int = Field(1, ge=1, le=10, description="Results of each picture, of seeds seed, seed+1, ...")
    size: str = Field("auto", description="WIDTHxHEIGHT to fit the picture into; auto leaves its size.")
    response_format: Literal["b64_json", "url"] = "b64_json"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    background: Literal["auto"] = Field("auto", description="The picture keeps its own.")
    stream: Literal["false", "False"] = Field("false", description="There is no stream of partial images.")
    quality: Any = Field(None, description="Of no effect, as are the following: they are taken for clients.")
    input_fidelity: Any = None
    moderation: Any = None
    output_compression: Any = None
    partial_images: Any = None
    user: Any = None
    safety_identifier: Any = None

    seed: int | None = Field(None, ge=0, le=2**63 - 1, description="By default random; it is returned.")
    expressive: str | None = Field(None, description="Description of the result in place of the model's.")
    steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps.")
    guidance_scale: float | None = Field(None, ge=0, description="Weight of the words.")
    image_guidance_scale: float | None = Field(None, ge=0, description="Weight of the picture.")
    strength: float = Field(1.0, ge=0, le=1, description="Share of the way to the edit.")


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """A request with its pictures, not yet decoded."""

    form: EditForm
    images: list[BinaryIO]
    mask: BinaryIO | None


@dataclass(frozen=True, kw_only=True)
class PreparedRequest:
    """A request that can be queued."""

    form: EditForm
    photos: list[Photo]
    tasks: list[EditTask]
    """One for each photo."""


def read_form(form: FormData) -> EditRequest:
    """Returns a request whose fields have been checked.

    Raises:
        APIError: a field is missing, unknown or impossible.
    """
    texts: dict[str, str] = {}
    files: dict[str, list[BinaryIO]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.setdefault("image" if name in _IMAGE_FIELDS else name, []).append(value.file)
        elif name in (*_IMAGE_FIELDS, "mask"):
            raise APIError(400, f"{name} is text; expected a file", "invalid_value", name)
        else:
            texts[name] = value
    for name in files.keys() - {"image", "mask"}:
        raise APIError(400, f"{name[:80]} is a file; expected image or mask", "unknown_parameter", name[:80])
    try:
        fields = EditForm.model_validate(texts)
    except ValidationError as error:
        raise _form_error(error) from None
    images, masks = files.get("image", []), files.get("mask", [])
    if not 1 <= len(images) <= MAX_IMAGES:
        raise APIError(400, f"got {len(images)} images; expected 1 to {MAX_IMAGES}", "invalid_value", "image")
    if len(masks) > 1 or (masks and len(images) > 1):
        raise APIError(
            400,
            f"got {len(masks)} masks and {len(images)} images; a mask goes with one image",
            "invalid_value",
            "mask",
        )
    return EditRequest(form=fields, images=images, mask=masks[0] if masks else None)


def prepare(request: EditRequest, defaults: dict[str, Any], max_pixels: int) -> PreparedRequest:
    """Returns the request with its pictures decoded: seconds of work for large ones.

    Args:
        request: from `read_form`.
        defaults: the model's own sampling, for what the form leaves open.
        max_pixels: of all pictures of the request together, as they come and as they are edited.

    Raises:
        APIError: a picture or value that cannot be used.
    """
    form = request.form
    param = "prompt"
    try:
        instruction = checked_words(form.prompt, "prompt")
        param = "expressive"
        expressive = None if form.expressive is None else checked_words(form.expressive, "expressive text")
        param = "size"
        box = _box(form.size, max_pixels // len(request.images))
        param = "image"
        photos, room = [], max_pixels
        for file in request.images:
            photos.append(open_photo(file, max_pixels=room, formats=_FORMATS))
            room -= photos[-1].image.width * photos[-1].image.height
        param = "mask"
        size = photos[0].image.size
        mask = None if request.mask is None else _mask(request.mask, size, max_pixels)
        param = "size"
        if box is not None:
            photos = [photo.resized(*box) for photo in photos]
            mask = mask and mask.resize(photos[0].image.size, Image.Resampling.LANCZOS)
    except MGIEError as error:
        raise api_error(error, param) from error
    given = {
        "num_inference_steps": form.steps,
        "guidance_scale": form.guidance_scale,
        "image_guidance_scale": form.image_guidance_scale,
    }
    sampling = Sampling(**{name: defaults[name] if value is None else value for name, value in given.items()})
    first_seed = random.randrange(2**31) if form.seed is None else form.seed
    tasks = [
        EditTask(
            image=photo.image,
            instruction=instruction,
            expressive_instruction=expressive,
            seeds=range(first_seed, first_seed + form.n),
            mask=mask,
            strength=form.strength,
            sampling=sampling,
        )
        for photo in photos
    ]
    return PreparedRequest(form=form, photos=photos, tasks=tasks)


def answer(
    request: PreparedRequest, results: Sequence[EditResult], model: str, keep: Callable[[bytes], str]
) -> list[dict[str, Any]]:
    """Returns the `data` of the answer: pictures encoded with what came with the photos, and a note.

    Args:
        request: what was asked for.
        results: one for each task of it.
        model: name of the model, for the note.
        keep: gives a link to an encoded picture.
    """
    data, form = [], request.form
    for photo, task, result in zip(request.photos, request.tasks, results, strict=True):
        for seed, image in zip(task.seeds, result.images, strict=True):
            words = result.expressive_instruction
            edit = Edit(model=model, instruction=task.instruction, expressive_instruction=words, seed=seed)
            picture, metadata = photo.result(image, [edit])
            content = encode_image(picture, f".{form.output_format}", metadata)
            where = (
                {"url": keep(content)}
                if form.response_format == "url"
                else {"b64_json": base64.b64encode(content).decode()}
            )
            size = f"{picture.width}x{picture.height}"
            data.append({**where, "revised_prompt": words, "seed": seed, "size": size})
    return data


def _form_error(error: ValidationError) -> APIError:
    problem = error.errors()[0]
    name, kind = str(problem["loc"][0])[:80], problem["type"]
    if kind == "missing":
        return APIError(400, f"{name} is missing; it is required", "missing_required_parameter", name)
    if kind == "extra_forbidden":
        return APIError(400, f"there is no parameter '{name}'", "unknown_parameter", name)
    return APIError(
        400, f"{name} is {str(problem['input'])[:80]!r}; {problem['msg'].lower()}", "invalid_value", name
    )


def _box(size: str, max_pixels: int) -> tuple[int, int] | None:
    """Returns the (width, height) that a picture has to fit into."""
    if size == "auto":
        return None
    match = _SIZE.fullmatch(size)
    width, height = map(int, match.groups()) if match else (0, 0)
    if not 0 < width * height <= max_pixels:
        raise ConfigError(
            f"size is {size[:40]!r}; expected 'auto' or WIDTHxHEIGHT, such as '1024x1024', "
            f"with at most {max_pixels / 10**6:.3g} megapixels for each picture"
        )
    return width, height


def _mask(file: BinaryIO, size: tuple[int, int], max_pixels: int) -> Image.Image:
    """Returns our mask, white where the picture may change, from OpenAI's: there it is transparent."""
    mask = open_photo(file, max_pixels=max_pixels, formats=_FORMATS)
    if mask.alpha is None:
        raise ImageError("the mask has no alpha channel; expected a PNG that is transparent where to edit")
    if mask.image.size == size and mask.alpha.getextrema() == (255, 255):
        raise ImageError(
            "the mask is opaque everywhere; expected it transparent where the picture may change"
        )
    return open_mask(ImageChops.invert(mask.alpha), size)
