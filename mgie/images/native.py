"""The way back: carries an edit made at working size onto the original at its own size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mgie.errors import ImageError
from mgie.images.mask import feathered
from mgie.images.planes import (
    Array,
    Box,
    along_edges,
    at_edges,
    average,
    averaging,
    blur,
    enlarge,
    local_maximum,
    ramp,
)
from mgie.images.rearrangement import Patch, Rearrangement
from mgie.images.working_size import resize

_GRID = 32
"""Cells along the longer side of the grid that holds the locally varying part of the colour change."""
_WINDOW = 1 / 16
"""Standard deviation of the window of a local fit, as a share of the longer side."""
_KNOTS = np.arange(1, 24, dtype=np.float32) / 24
"""Grey values at which the tone curve of each channel may bend: enough to follow a posterised one."""
_NUM_PLACED = 24
"""Weights of the whole-picture fit that belong to products of position (6) and affine colour (4)."""
_SAMPLES = 1 << 12
"""Pixels that the whole-picture fit looks at."""
_DRIFT = 0.015
"""Change, in [0, 1], that a diffusion model makes where it means to make none."""
_CHANGE_WINDOW = 1.5
"""Standard deviation, in pixels at working size, of the window in which a change is measured."""
_UNTOUCHED, _UNTOUCHED_SHARE = 1e-3, 0.02
"""Change below which a place was left alone, and the share of such places from which on that was meant."""
_EXPLAINED = 0.06
"""Share of misfits below which what changed is a change of colour and nothing else."""
_OUTLINE_WINDOW = 0.6
"""The same where the outline of a changed part is sought."""
_OUTLINE_REACH = 3
"""Pixels at working size within which an edit is somewhere as strong as it is at its strongest."""
_OUTLINE = 0.5, 0.75
"""Share of that strength at which the outline begins, and at which all is inside."""
_SOFTENED = 0.75
"""Share of the source's detail below which an edit softens what it keeps."""
_NEW = 0.01
"""Share of a picture that keeps its structure below which all of it is new."""
_STRIP_PIXELS = 1 << 20
"""Pixels of the original that are in memory as float at one time."""


def return_to_native(
    original: Image.Image,
    source: Array,
    edited: Array,
    *,
    keep_unchanged: bool = True,
    mask: Image.Image | None = None,
    strength: float = 1.0,
    rearrangement: Rearrangement | None = None,
) -> Image.Image:
    """Returns the edit at the size of the original, aligned with it to the pixel.

    The edit is split into a colour change and new content. The colour change, a smooth field of affine
    transforms plus a tone curve per channel, is applied to the original itself: its detail survives, and the
    error of the autoencoder, which `source` and `edited` share, cancels. It is fitted to the part that is
    changed, if it is one of colour there. Where the edit removed the structure of the source or painted over
    it, `edited` itself is enlarged. Transforms fitted at low resolution and applied at full resolution are
    the idea of bilateral guided upsampling (Chen et al., 2016).

    Args:
        original: RGB picture of any size.
        source: (h, w, 3) in [0, 1], the original through the autoencoder at working size.
        edited: (h, w, 3) in [0, 1], the edit at working size, from the same autoencoder.
        keep_unchanged: whether what the edit did not change is the original, byte for byte. Where it changed
            less than a model drifts by itself, that is; the transition is soft. The rim of a rearrangement is
            the original in any case.
        mask: mode L, of the original's size: white may change, black is the original, byte for byte.
        strength: share of the way from the original, 0, to the edit, 1; every pixel moves evenly.
        rearrangement: what of the original the edit takes away or shows again, which comes from there rather
            than from `edited`.

    Raises:
        ImageError: the arrays are not of one shape (h, w, 3), or hold values that are not finite.
    """
    if source.ndim != 3 or source.shape[2] != 3 or source.shape != edited.shape:
        raise ImageError(
            f"got arrays {source.shape} and {edited.shape}; expected one shape (h, w, 3) for both"
        )
    if not (np.isfinite(source).all() and np.isfinite(edited).all()):
        raise ImageError("the decoded picture is not finite; expected values in [0, 1]: decode in fp32")
    source, edited = source.astype(np.float32), edited.astype(np.float32)
    change = _fit_colour_change(source, edited)
    predicted = change.apply(source)
    kept, new = _kept_and_new(predicted, edited, change)
    content = (1 - kept) * predicted + new * (_denoised(edited, change.noise) - predicted)
    # A mosaic's block may by chance be as light as what was there: specks of the original would show through.
    keep_unchanged &= bool(kept.mean() >= _NEW)
    original, changed = original.convert("RGB"), None
    small = np.asarray(resize(original, (source.shape[1], source.shape[0])), np.float32) / 255
    if keep_unchanged:
        # A colour change that fits what it was fitted to still errs a little where the edit leaves all alone.
        both = kept * predicted + content - source, edited - source
        changed = np.minimum(*(_changed(difference, change.noise) for difference in both))
        changed = np.concatenate([changed, along_edges(changed, small, edited)], axis=-1)
    weights = _Weights(changed, None if mask is None else feathered(mask), strength)
    patches = rearrangement.patches(original, small) if rearrangement else []
    return _composite(original, change, kept, content, weights, patches)


@dataclass(frozen=True)
class _ColourChange:
    """Colour transform `fields(position) @ [rgb - 0.5, 1] + sum of a curve per input channel`.

    Attributes:
        fields: (gh, gw, 12), affine transforms (3, 4) on a grid over the picture.
        bends: (3, K, 3), change of slope of each output (last) at each knot of each input channel (first).
        noise: standard deviation of what the transform leaves unexplained at most places.
        places: (h, w, 1) in [0, 1], what it was fitted to.
    """

    fields: Array
    bends: Array
    noise: float
    places: Array

    def apply(self, picture: Array) -> Array:
        """Returns the transformed (h, w, 3) picture, not clipped."""
        return _transform(self.fields, _affine(picture)) + _hinges(picture) @ self.bends.reshape(-1, 3)

    def tables(self) -> Array:
        """Returns (3, 256, 3): what each 8-bit value of each input channel adds to each output."""
        levels = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
        return np.stack([_hinges(levels) @ bends for bends in self.bends])


def _affine(picture: Array) -> Array:
    return np.concatenate([picture - 0.5, np.ones_like(picture[..., :1])], axis=-1)


def _hinges(values: Array) -> Array:
    """Returns (..., C * K) functions of (..., C) `values`, zero up to a knot and of slope 1 beyond it."""
    return np.maximum(values[..., None] - _KNOTS, 0).reshape(*values.shape[:-1], -1)


def _polynomials(height: int, width: int) -> Array:
    """Returns (h, w, 6): polynomials 1, x, y, xx, xy, yy of the position, -1 to 1 along the longer side."""
    scale = max(height, width)
    x = (2 * np.arange(width, dtype=np.float32) + 1 - width) / scale
    y = ((2 * np.arange(height, dtype=np.float32) + 1 - height) / scale)[:, None]
    return np.stack(np.broadcast_arrays(np.float32(1), x, y, x * x, x * y, y * y), axis=-1)


def _transform(fields: Array, affine: Array) -> Array:
    """Returns (h, w, 3): the transforms (gh, gw, 12), enlarged, applied to the colours (h, w, 4)."""
    height, width = affine.shape[:2]
    maps = enlarge(fields, (width, height)).reshape(height, width, 3, 4)
    return np.einsum("hwoc,hwc->hwo", maps, affine)


def _fit_colour_change(source: Array, edited: Array) -> _ColourChange:
    """Returns the change of the part that an edit changes if there it is one of colour, else of all."""
    part = _part(edited - source)
    if part is not None:
        change = _fit(source, edited, part)
        if _misfits(_errors(change.apply(source) - edited)[part[..., 0] > 0.5]) < _EXPLAINED:
            return change
    return _fit(source, edited, np.ones_like(source[..., :1]))


def _part(change: Array) -> Array | None:
    """Returns a map (h, w, 1) in [0, 1] of what an edit of a part changes, but for its outline.

    None where the edit is one of the whole, or nothing is left of the part.

    Args:
        change: (h, w, 3), edit minus source.
    """
    changed, is_of_a_part = _beyond_drift(change)
    inside = 1 - local_maximum(1 - changed, _OUTLINE_REACH)
    return inside if is_of_a_part and np.mean(inside > 0.5) > _NEW else None


def _beyond_drift(change: Array, noise: float = 0.0) -> tuple[Array, bool]:
    """Returns a map (h, w, 1) in [0, 1] of what changed by more than a model drifts, and whether of a part.

    So it is if places are left alone: nothing moved them, or no more than drift does.

    Args:
        change: (h, w, 3), edit minus source.
        noise: standard deviation of what is imprecise in it.
    """
    size = _size(change, _CHANGE_WINDOW)
    # The faintest edit of a whole picture counts: what is drift depends on the greatest change too.
    drift = min(max(noise, _DRIFT), 0.2 * float(size.max()) + 1e-6)
    is_of_a_part = np.median(size) <= drift or np.mean(size < _UNTOUCHED) >= _UNTOUCHED_SHARE
    return ramp(size, 0.5 * drift, 1.5 * drift), bool(is_of_a_part)


def _fit(source: Array, edited: Array, places: Array) -> _ColourChange:
    """Returns the colour change between two pictures at places (h, w, 1)."""
    height, width = source.shape[:2]
    affine, hinges, change = _affine(source), _hinges(source), edited - source
    polynomials, taken = _polynomials(height, width), places[..., 0] > 0.5
    placed, bends = _fit_whole(
        np.einsum("np,nc->npc", polynomials[taken], affine[taken]), hinges[taken], change[taken]
    )
    residual = change - np.einsum("hwp,pco,hwc->hwo", polynomials, placed, affine, optimize=True)
    residual -= hinges @ bends
    noise = float(np.clip(1.4826 * np.median(np.abs(residual[taken])), 0.01, 0.04))

    cell = max(height, width) / _GRID
    shape = max(round(height / cell), 2), max(round(width / cell), 2)
    down, across = averaging(shape[0], height, cell / 2), averaging(shape[1], width, cell / 2)
    fields = np.einsum("ijp,pco->ijoc", average(down, polynomials, across), placed)
    fields += _fit_local(affine, residual, shape, noise, places)
    fields += np.concatenate([np.eye(3), np.full((3, 1), 0.5)], axis=1)  # the fits were of the change
    return _ColourChange(
        fields.reshape(*shape, 12).astype(np.float32), bends.reshape(3, -1, 3), noise, places
    )


def _fit_whole(placed: Array, hinges: Array, change: Array) -> tuple[Array, Array]:
    """Returns weights (6, 4, 3) of position x colour and (3K, 3) of the curves, robust to new content.

    Takes (N, 6, 4) position x colour, (N, 3K) curves and the change (N, 3) of N pixels.

    A border may cover a third of the picture, and a fit of everything would then explain the border. So the
    search starts from what did not change, from the centre, and from everything, in this order of preference.
    """
    features = np.concatenate([placed.reshape(-1, _NUM_PLACED), hinges], axis=1)
    centre = np.exp(-8 * (placed[:, 3, 3] + placed[:, 5, 3]))
    # At random: every so many pixels would be the same few columns of all rows.
    samples = np.random.default_rng(0).permutation(len(change))[:_SAMPLES]
    # In double precision, so that rounding errors of the models do not grow into grey levels here.
    features, target, centre = (x[samples].astype(np.float64) for x in (features, change, centre))
    unchanged = _trust(np.sqrt(np.mean(target**2, axis=1)))
    starts = {1.0: unchanged, 1.1: centre, 1.2: np.ones_like(centre)}  # a later start must fit clearly better
    fits = [(_fit_robustly(features, target, trust), handicap) for handicap, trust in starts.items()]
    (weights, _), _ = min(fits, key=lambda fit: fit[0][1] * fit[1])
    weights = weights.astype(np.float32)
    return weights[:_NUM_PLACED].reshape(6, 4, 3), weights[_NUM_PLACED:]


def _trust(error: Array) -> Array:
    """Returns weights in (0, 1], near zero for errors far above the median."""
    return 1 / (1 + (error / max(2 * float(np.median(error)), 0.02)) ** 2) ** 2


def _fit_robustly(features: Array, target: Array, trust: Array) -> tuple[Array, float]:
    """Returns weights from iterated reweighting, stiff at first, and about the share of misfits."""
    for stiffness in (1e6, 1e5, 1e4, 1e3, 1e2, 1e1, 1, 1, 1):
        ridge = np.full(features.shape[1], 5e-6 * stiffness)
        ridge[:_NUM_PLACED] = 2e-4 * stiffness
        ridge[:4] = 1e-5, 1e-5, 1e-5, 1e-9  # the affine transform of the whole picture is nearly free
        weighted = (features * (trust / trust.sum())[:, None]).T
        weights = np.linalg.solve(weighted @ features + np.diag(ridge), weighted @ target)
        error = _errors(target - features @ weights)
        trust = _trust(error)
    return weights, _misfits(error)


def _errors(difference: Array) -> Array:
    """Returns the root mean square over the channels."""
    return np.sqrt(np.mean(difference**2, axis=-1))


def _misfits(error: Array) -> float:
    """Returns about the share of errors that are none of precision."""
    return float(np.mean(error**4 / (error**4 + 0.06**4)))


def _fit_local(affine: Array, residual: Array, shape: tuple[int, int], noise: float, places: Array) -> Array:
    """Returns transforms (gh, gw, 3, 4) for what the whole-picture fit left; zero where it is little."""
    height, width = residual.shape[:2]
    sigma = _WINDOW * max(height, width)
    down, across = averaging(shape[0], height, sigma), averaging(shape[1], width, sigma)
    products = np.einsum("hwi,hwj->hwij", affine, np.concatenate([affine, residual], axis=-1))
    products = products.reshape(height, width, 28)
    ridge = np.diag([2e-3, 2e-3, 2e-3, 1e-2])
    fields, moments, error = np.zeros((*shape, 3, 4)), np.zeros((*shape, 4, 7)), residual
    for _ in range(4):
        misfit = np.mean(error**2, axis=-1, keepdims=True) / (3 * noise) ** 2
        # Never zero: a window may lie wholly in what was recoloured, or far from what is fitted.
        trust = (0.02 + 1 / (1 + misfit) ** 2) * (places + 1e-4)
        moments = average(down, products * trust, across) / average(down, trust, across)
        moments = moments.reshape(*shape, 4, 7).astype(np.float64)
        fields = np.linalg.solve(moments[..., :4] + ridge, moments[..., 4:]).swapaxes(2, 3)  # (gh, gw, 3, 4)
        error = residual - _transform(fields.reshape(*shape, 12), affine)
    strength = np.sqrt(np.einsum("ijoc,ijcd,ijod->ij", fields, moments[..., :4], fields, optimize=True) / 3)
    return fields * ramp(strength, 0.04, 0.09)[..., None, None]  # the drift of a diffusion model is weaker


def _kept_and_new(predicted: Array, edited: Array, change: _ColourChange) -> tuple[Array, Array]:
    """Returns maps (h, w, 1) in [0, 1]: is the structure that of the source, is there new content."""
    noise = change.noise
    fine_old, fine_new = predicted - blur(predicted, 1.5), edited - blur(edited, 1.5)
    old = blur((fine_old**2).sum(-1, keepdims=True), 3)
    both = blur((fine_old * fine_new).sum(-1, keepdims=True), 3)
    floor = noise**2
    evidence = old / (old + floor)
    sure = ramp((both + 0.1 * floor) / (old + 0.1 * floor), 0.35, 0.65)
    counts = evidence * change.places
    usual = (counts * sure).sum() / max(counts.sum(), 1e-6)
    gain = (both + floor * usual) / (old + floor)  # where the source is flat, as elsewhere in the picture
    start = 0.6 - 0.4 * usual  # textures come back imprecise: one place alone needs the clearer evidence
    # In most places changes of tone leave 0.85 or more of the detail, the slightest blurs at most 0.7 (210
    # edits by mgie-tiny, and their targets through its autoencoder): what is softer on the whole is blurred.
    if (evident := counts > 0.8).any() and np.median((both / old)[evident]) < _SOFTENED:
        start = _SOFTENED
    kept = ramp(gain, start, start + 0.3)

    rest = _size(edited - predicted, 1.5)
    imprecision = noise + 0.35 * blur(np.abs(fine_old).max(-1, keepdims=True), 1.5)  # edges never fit exactly
    return kept, np.maximum(ramp(rest / imprecision, 1.5, 3), 1 - kept)


def _denoised(edited: Array, noise: float) -> Array:
    """Returns `edited`, smoothed where its finest band holds no more than noise.

    There is less noise than the fit left over where the edit itself cannot be fitted: half of all places show
    how much it can be.
    """
    fine = edited - blur(edited, 2)
    noise = min(noise, 1.4826 * float(np.median(np.abs(fine))) + 1e-4)
    strength = np.sqrt(blur((fine**2).mean(-1, keepdims=True), 2))
    return edited - (1 - ramp(strength / noise, 1, 2)) * fine


def _size(change: Array, sigma: float) -> Array:
    """Returns the root mean square (h, w, 1) of a change (h, w, 3) in a window."""
    return np.sqrt(blur((change**2).mean(-1, keepdims=True), sigma))


def _changed(change: Array, noise: float) -> Array:
    """Returns a map (h, w, 1) in [0, 1]: where an edit changed the picture by more than a model drifts.

    Args:
        change: (h, w, 3), edit minus source.
        noise: standard deviation of what is imprecise in it.
    """
    changed, is_of_a_part = _beyond_drift(change, noise)
    if not is_of_a_part:
        return changed
    # The edit is of a part. Its outline runs where the change is about half of what it is further in; what
    # the decoder smeared beyond that is left out, and what happens to look alike further in is not.
    fine = _size(change, _OUTLINE_WINDOW)
    inside = ramp(fine / (local_maximum(fine, _OUTLINE_REACH) + 1e-6), *_OUTLINE)
    inside = -local_maximum(-local_maximum(inside, _OUTLINE_REACH), _OUTLINE_REACH)
    near_outline = local_maximum((changed < 0.5).astype(np.float32), 2 * _OUTLINE_REACH - 1)
    return changed * np.maximum(inside, 1 - near_outline)


@dataclass(frozen=True)
class _Weights:
    """How much of the edit each pixel of the result takes, between 0 and 1."""

    changed: Array | None
    """(h, w, 1 + 4) at working size: the share that changed, and what `along_edges` makes of it."""
    mask: Image.Image | None
    """Mode L at native size."""
    strength: float

    def changed_in(self, box: Box, colours: Array) -> Array:
        """Returns how much of the pixels (n, width, 1) of a box of the result the edit changes.

        Args:
            box: rows of the result.
            colours: (n, width, 3) in [0, 1], the original's.
        """
        if self.changed is None:
            return np.ones_like(colours[..., :1])
        maps = enlarge(self.changed, (colours.shape[1], colours.shape[0]), box)
        return np.minimum(maps[..., :1].clip(0, 1), at_edges(maps[..., 1:], colours))

    def allowed_in(self, top: int, colours: Array) -> Array | float:
        """Returns how much of it is wanted, (n, width, 1) or one for all; the first row is `top`."""
        if self.mask is None:
            return self.strength
        part = self.mask.crop((0, top, colours.shape[1], top + len(colours)))
        return self.strength * (np.asarray(part, np.float32) / 255)[..., None]


def _composite(
    original: Image.Image,
    change: _ColourChange,
    kept: Array,
    content: Array,
    weights: _Weights,
    patches: Sequence[Patch],
) -> Image.Image:
    """Returns `kept * change(original) + content` under patches, weighted, in strips of rows."""
    width, height = original.size
    tables = change.tables()
    result = np.empty((height, width, 3), np.uint8)
    rows = max(_STRIP_PIXELS // width, 1)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        size, box = (width, bottom - top), (0, top / height, 1, bottom / height)
        levels = np.asarray(original.crop((0, top, width, bottom)))
        colours = levels.astype(np.float32) / 255
        changed = weights.changed_in(box, colours)
        if not (patches or changed.any()):
            result[top:bottom] = levels
            continue
        maps = enlarge(change.fields, size, box).reshape(bottom - top, width, 3, 4)
        share = enlarge(kept, size, box).clip(0, 1)
        recoloured = np.einsum("hwoc,hwc->hwo", maps, _affine(colours))
        for channel in range(3):
            recoloured += tables[channel][levels[..., channel]]
        strip = (share * recoloured.clip(0, 1) + enlarge(content, size, box)).clip(0, 1)
        for patch in patches:
            patch.lay_on(strip, changed, top)
        weighted = colours + changed * weights.allowed_in(top, colours) * (strip - colours)
        result[top:bottom] = np.rint(weighted * 255)
    return Image.fromarray(result)
