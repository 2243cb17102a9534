"""Families of style: blur, vignette, poster, pixels, pencil sketch, frame."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mgie.data.synth import vague
from mgie.data.synth.colour import COLOURS
from mgie.data.synth.family import STRENGTHS, Pixels, WholePicture
from mgie.data.synth.measure import Array, blurred, correlation, gradient, is_blurred, luminance, saturation
from mgie.data.synth.wording import Params, Wordings, less, too

_BLUR = {"slight": 0.014, "normal": 0.026, "strong": 0.05}
_VIGNETTE = {"slight": 0.55, "normal": 0.8, "strong": 1.0}
_POSTER_LEVELS = 3
_POSTER_SMOOTHNESS = 0.02
_BLOCKS_PER_EIGHTH = {"normal": 2, "strong": 1}
_FRAME = {"slight": 0.05, "normal": 0.1, "strong": 0.16}
_FRAME_COLOURS = {
    "white": (1.0, 1.0, 1.0),
    "black": (0.0, 0.0, 0.0),
    **{
        name: COLOURS[name]
        for name in ("red", "yellow", "gold", "green", "blue", "purple", "pink", "orange", "brown")
    },
}


def _blur(pixels: Pixels, params: Params) -> Pixels:
    return blurred(pixels, _BLUR[params["strength"]])


def _is_blurred(source: Pixels, edited: Pixels, params: Params) -> bool:
    before, after, wanted = (luminance(pixels) for pixels in (source, edited, _blur(source, params)))
    return is_blurred(before, after, wanted)


def _distance_from_centre(pixels: Pixels) -> Array:
    height, width, _ = pixels.shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    return np.sqrt((x * x + y * y) / 2)


def _vignette(pixels: Pixels, params: Params) -> Pixels:
    t = np.clip((_distance_from_centre(pixels) - 0.25) / 0.6, 0, 1)
    shade = t * t * (3 - 2 * t) * _VIGNETTE[params["strength"]]
    return pixels * (1 - shade)[..., None]


def _is_vignetted(source: Pixels, edited: Pixels, params: Params) -> bool:
    far = _distance_from_centre(source)
    corners, middle = far > 0.75, far < 0.3

    def kept(where: NDArray[np.bool_]) -> float:
        return float(luminance(edited)[where].mean() / (luminance(source)[where].mean() + 1e-3))

    is_middle_same = float(np.abs(edited[middle] - source[middle]).mean()) <= 0.12
    return is_middle_same and kept(corners) < 0.75 * kept(middle)


def _poster(pixels: Pixels, params: Params) -> Pixels:
    # Steps of light under smooth colour; steps in each channel would give grey walls pink and olive patches.
    smooth = blurred(pixels, _POSTER_SMOOTHNESS)
    light = luminance(smooth)[..., None]
    steps = (np.minimum(np.floor(light * _POSTER_LEVELS), _POSTER_LEVELS - 1) + 0.5) / _POSTER_LEVELS
    return np.clip(steps + (smooth - light) * 2, 0, 1)


def _is_poster(source: Pixels, edited: Pixels, params: Params) -> bool:
    target = luminance(_poster(source, params))
    flat = gradient(target) < 0.02
    if not flat.any():
        return False

    def unevenness(pixels: Pixels) -> float:
        light = luminance(pixels)
        return float(gradient(light)[flat].mean() / (light.std() + 1e-3))

    rest, whole = (float(np.abs(luminance(p) - target).mean()) for p in (edited, source))
    return rest <= 0.6 * whole and unevenness(edited) <= unevenness(source)


def _resized(pixels: Pixels, height: int, width: int, resample: Image.Resampling) -> Pixels:
    planes = [
        Image.fromarray(np.ascontiguousarray(pixels[..., channel])).resize((width, height), resample)
        for channel in range(3)
    ]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], axis=-1), 0, 1)


def _pixelate(pixels: Pixels, params: Params) -> Pixels:
    height, width, _ = pixels.shape
    # Blocks of one area in every format, and a whole number of them each way.
    columns, rows = (
        max(1, round(8 * (side / other) ** 0.5)) * _BLOCKS_PER_EIGHTH[params["strength"]]
        for side, other in ((width, height), (height, width))
    )
    small = _resized(pixels, rows, columns, Image.Resampling.BOX)
    return _resized(small, height, width, Image.Resampling.NEAREST)


def _is_pixelated(source: Pixels, edited: Pixels, params: Params) -> bool:
    target = _pixelate(source, params)
    inside = gradient(luminance(target)) < 1e-4
    if inside.all() or not inside.any():
        return False

    def roughness(pixels: Pixels) -> float:
        steps = gradient(luminance(pixels))
        return float(steps[inside].mean() / (steps[~inside].mean() + 1e-6))

    is_same = correlation(luminance(target), luminance(edited)) > 0.7
    return is_same and roughness(edited) <= 0.6 * roughness(source)


def _sketch(pixels: Pixels, params: Params) -> Pixels:
    # The classic "colour dodge": what is darker than its surroundings becomes a pencil stroke on white paper.
    light = luminance(pixels)
    strokes = np.clip((light + 0.05) / (blurred(light, 0.025) + 0.05), 0, 1)
    return np.repeat((strokes**2.2)[..., None], 3, axis=2)


def _is_sketch(source: Pixels, edited: Pixels, params: Params) -> bool:
    target = _sketch(source, params)
    is_colourless = saturation(edited) < max(0.4 * saturation(source), 0.05)
    rest, whole = (float(np.abs(luminance(p) - luminance(target)).mean()) for p in (edited, source))
    return is_colourless and rest <= 0.5 * whole and correlation(luminance(edited), luminance(target)) > 0.5


def _inside_frame(pixels: Pixels, params: Params) -> NDArray[np.bool_]:
    height, width, _ = pixels.shape
    thick = max(1, round(_FRAME[params["strength"]] * min(height, width)))
    inside = np.zeros((height, width), bool)
    inside[thick:-thick, thick:-thick] = True
    return inside


def _border(pixels: Pixels, params: Params) -> Pixels:
    colour = np.array(_FRAME_COLOURS[params["colour"]], np.float32)
    return np.where(_inside_frame(pixels, params)[..., None], pixels, colour)


def _is_framed(source: Pixels, edited: Pixels, params: Params) -> bool:
    inside = _inside_frame(source, params)
    colour = np.array(_FRAME_COLOURS[params["colour"]], np.float32)
    before, after = (float(np.abs(p[~inside] - colour).mean()) for p in (source, edited))
    kept = float(np.abs(edited[inside] - source[inside]).mean())
    return after < min(0.5 * before, 0.15) and kept <= 0.15


BLUR = WholePicture(
    name="blur",
    choices={"strength": STRENGTHS},
    apply=_blur,
    shows=_is_blurred,
    wordings=Wordings(
        commands=(
            "make {it} {how} [blurrier|softer|fuzzier]",
            "make {it} {very} [blurry|blurred|fuzzy|out of focus]",
            "make {it} look {very} [blurry|blurred|out of focus]",
            "[blur|defocus|soften|smooth] {it} {much}",
            "blur everything {much}",
            "[add|give {it}] a {size} [blur|soft focus|gaussian blur]",
            "[use|apply] a {size} [blur|gaussian blur|soft focus] [|filter|effect]",
            "[put|take|bring|throw] {it} out of focus",
            "[reduce|lower|remove] the sharpness {much}",
            "make {it} look like seen [through frosted glass|without glasses|through a wet window]",
            "[hide|blur out|smear] [all details|the details|every detail] {much}",
            "make the [whole picture|details|outlines|edges] {very} [blurry|soft|fuzzy]",
            "[lose|drop] the [focus|sharpness] {much}",
            "make {it} {how} more [blurry|blurred|out of focus]",
            "[unsharpen|unfocus|smudge] {it} {much}",
            "[use|apply|add] {size} [blur|blurring|gaussian blur]",
            *less("sharp|crisp|detailed|in focus"),
        ),
        phrases=(
            "{how} [blurrier|softer|less sharp]",
            "{very} [blurry|blurred|out of focus]",
            "{size} [blur|gaussian blur] [|please]",
            "{it} should be {very} [blurry|out of focus]",
            "{how} more [blur|blurry|blurred]",
            "{how} less sharpness",
            "[blur|blurred|blurry] {much}",
            *too("sharp|crisp|detailed|in focus"),
        ),
        vague=vague.STYLE,
        expressive=(
            "{Names} would be {degree} blurred, with soft edges and no fine detail.",
            "{Names} would be {degree} out of focus, melting into smooth patches of colour.",
            "The outlines of {names} would be {degree} blurred, as if seen through frosted glass.",
        ),
    ),
)

VIGNETTE = WholePicture(
    name="vignette",
    choices={"strength": STRENGTHS},
    apply=_vignette,
    shows=_is_vignetted,
    wordings=Wordings(
        commands=(
            "add a {size} [vignette|vignetting|vignette effect|dark vignette]",
            "[put|use|apply] a {size} vignette [|on {it}|effect|filter]",
            "give {it} a {size} vignette [|look|effect]",
            "[darken|shade|dim|blacken] the [edges|corners|edges and corners|sides] {much}",
            "[darken|shade|dim] the [edges|corners] of {it} {much}",
            "make the [edges|corners|sides|edges of it|corners of it] {how} darker",
            "[fade|blend] the [edges|corners] [to black|into black|into darkness] {much}",
            "vignette {it} {much}",
            "keep only the [middle|centre|center] bright",
            "focus the light on the [middle|centre|center] {much}",
            "[put|set] {it} under a {size} spotlight",
            "[add|give {it}] {size} [dark corners|dark edges|shadows around the edges]",
            "[make|turn] the [border area|outer parts|outside|outer edges] {how} darker",
            "put a {size} [dark ring|shadow|dark frame of shadow] around the [edges|corners]",
            "[vignette|add vignette to] [it|this|the picture|the photo] {much}",
            "[shadow|dim|black out] the corners {much}",
            "[use|apply] {size} [vignetting|corner shading|dark corners]",
        ),
        phrases=(
            "{size} [vignette|dark corners|dark edges] [|please]",
            "with a {size} vignette",
            "{how} darker [corners|edges]",
            "{it} should have {size} [dark corners|dark edges]",
            "vignette {much}",
            "{size} [shadows in the corners|black corners|vignetting|shaded edges]",
            "[dark|darker] [corners|edges] {much}",
        ),
        vague=vague.STYLE,
        expressive=(
            "The corners would fade {degree} into black, while {names} would stay bright in the middle.",
            "A round shadow would darken the edges {degree}, leading the eye to {names} inside.",
            "The edges around {names} would be {degree} dark, as if a spotlight lit only the middle.",
        ),
    ),
)

POSTER = WholePicture(
    name="poster",
    apply=_poster,
    shows=_is_poster,
    wordings=Wordings(
        commands=(
            "[posterise|posterize] {it}",
            "[posterise|posterize] the [colours|colors] [|of it]",
            "make {it} [a poster|look like a poster|posterized|look posterised]",
            "make {it} look like [pop art|a screen print|a comic]",
            "make {it} look like [a comic book|a silkscreen print|a propaganda poster]",
            "[turn|convert|change] {it} [to|into] [a poster|pop art|a comic]",
            "[turn|convert|change] {it} [to|into] [a screen print|a cartoon|flat colours]",
            "[use|apply|add] a [poster|posterize|pop art|comic|screen print] [filter|effect|look]",
            "give {it} [a poster|a pop art|a comic book] [look|style|effect]",
            "reduce {it} to [a few|only a few|four|very few] [colours|colors|tones|shades]",
            "[use|keep] only a few [flat|solid|] [colours|colors]",
            "make {it} [cartoonish|cartoony|comic style|pop art style]",
            "make the [colours|colors] flat [|and bold|like a poster]",
            "make {it} [in|with] [flat colours|few colours|bold flat colours|only a few tones]",
            "[turn|make] {it} into a [poster|pop art poster|comic strip|screenprint|cartoon]",
            "[do|make] a [posterisation|posterization] of it",
            "[simplify|flatten] the [colours|colors|tones] [|into a few|to a few flat ones]",
            "[paint|draw|print|show] {it} as a [poster|comic|cartoon|screen print]",
            "[use|apply|add] [posterisation|posterization|a cartoon filter|a cartoon effect]",
        ),
        phrases=(
            "[poster|pop art|comic|screen print] [style|version|look|effect]",
            "[as|like] [a poster|pop art|a comic|a screen print]",
            "[in|with] [flat colours|only a few colours|poster style|pop art style]",
            "{it} should look like [a poster|pop art|a comic]",
            "[posterize|posterise|posterized|posterised] [|it|look|please|version]",
            "[cartoon|comic book|silkscreen|posterized] [style|look|effect|version]",
            "[pop art|poster|comic|cartoon]",
            "few flat [colours|colors|tones]",
        ),
        vague=vague.STYLE,
        expressive=(
            "{Names} would be shown in a few flat, bold colours with hard edges, like a printed poster.",
            "The picture would become a screen print, with {names} in only a few strong tones.",
            "All soft shades would turn into flat patches, so that {names} would look like pop art.",
        ),
    ),
)

PIXELATE = WholePicture(
    name="pixelate",
    choices={"strength": ("normal", "normal", "strong")},
    apply=_pixelate,
    shows=_is_pixelated,
    wordings=Wordings(
        words={
            "size": {
                "normal": ("",),
                "strong": ("very coarse", "huge", "very large", "strong", "heavy", "really big"),
            },
            "shade": {"normal": ("square",), "strong": ("very large square",)},
        },
        commands=(
            "[pixelate|pixelise|pixellate] {it} {much}",
            "make {it} {very} [pixelated|blocky|pixelly]",
            "make {it} look {very} [pixelated|blocky|low res|low resolution]",
            "[turn|convert|change] {it} [to|into] {size} [pixel art|pixels|mosaic tiles|blocks|squares]",
            "make {it} look like [pixel art|an old video game|an 8-bit game]",
            "make {it} look like [a retro game|minecraft|lego blocks]",
            "[add|use|apply] a {size} [pixelate|pixel|mosaic|8-bit|pixelation] [filter|effect]",
            "[reduce|lower] the resolution {much}",
            "[show|build|render|redraw] {it} [in|with] {size} [pixels|blocks|squares]",
            "[censor|hide] {it} with [pixels|a mosaic]",
            "make {it} a {size} mosaic",
            "[break|cut] {it} into {size} [pixels|squares|blocks]",
            "make {it} [into|a picture of] {size} [squares|blocks|pixels]",
            "[use|make] {size} pixels",
            "[make|turn] the pixels {size} [and square|visible]",
            "[show|draw|make] {it} as [pixel art|an 8-bit picture|a mosaic]",
            "[do|add|use|apply] {size} [pixelation|pixelization|pixelating]",
            "[pixelate|pixelize|blockify] [the picture|everything|the photo] {much}",
            "make {it} {much} [pixelated|in blocks]",
        ),
        phrases=(
            "{size} [pixels|mosaic|pixelation]",
            "{very} [pixelated|blocky|low resolution]",
            "[as|like] [pixel art|an 8-bit game|a mosaic]",
            "8-bit [style|look|version]",
            "{it} should be {very} [pixelated|blocky]",
            "[pixelate|pixelated|pixelize|pixelise|pixel art] [|please|it|look|style]",
            "{size} [squares|blocks|mosaic tiles|square pixels]",
            "[minecraft|retro game|lego|mosaic|8-bit] [style|look]",
        ),
        vague=vague.STYLE,
        expressive=(
            "{Names} would break up into {shade} blocks of one colour each, as in an old video game.",
            "In a mosaic of {shade} tiles, {names} could only just be made out.",
            "{Names} would be drawn with {shade} pixels, so that all fine detail disappears.",
        ),
    ),
)

SKETCH = WholePicture(
    name="sketch",
    apply=_sketch,
    shows=_is_sketch,
    wordings=Wordings(
        commands=(
            "make {it} [a sketch|a pencil sketch|a drawing|a pencil drawing|a line drawing]",
            "make {it} look like [a sketch|a pencil sketch|a drawing]",
            "make {it} look like [a pencil drawing|it was drawn by hand|a page to colour]",
            "[turn|convert|change|transform] {it} [to|into] [a sketch|a pencil sketch|a drawing]",
            "[turn|convert|change|transform] {it} [to|into] [a pencil drawing|line art]",
            "[draw|sketch|redraw] {it} [with a pencil|in pencil|by hand|with a pen]",
            "[draw|sketch] {it}",
            "[use|apply|add] a [sketch|pencil|pencil sketch|drawing] [filter|effect|look]",
            "give {it} a [hand drawn|sketched|pencil] [look|style]",
            "[keep|show|leave] only [the outlines|the lines|the edges|the contours] [|of it]",
            "make {it} [hand drawn|sketched|sketchy]",
            "trace [the outlines|the edges|it with a pencil]",
            "[keep|show|leave|draw] [only|just] the [edges|outlines|lines|contours]",
            "[turn|make] {it} into a [colouring page|coloring page|page to colour|line art drawing]",
            "make {it} [line art|an outline drawing|a colouring page|a coloring book page]",
            "[reduce|strip] {it} to [its outlines|outlines|lines|edges]",
            "[show|leave] nothing but [the outlines|the lines|outlines]",
            "make it a [pencil|hand drawn|graphite|black and white] [drawing|sketch]",
            "[remove|drop] everything [but|except] the [outlines|lines|edges]",
            "sketch [the outlines|the edges|the contours|everything] [with a pencil|in pencil|by hand]",
        ),
        phrases=(
            "[pencil|pencil sketch|sketch|line drawing] [style|version|please|look]",
            "[as|like] a [sketch|pencil sketch|pencil drawing|line drawing|drawing]",
            "in [pencil|the style of a pencil sketch]",
            "{it} should look like a [drawing|sketch]",
            "[outlines|lines|edges|contours] only",
            "[only|just] [outlines|lines|the outlines|pencil lines]",
            "[drawing|pencil drawing|sketch|line art|colouring page] [|please|look|style|version]",
            "[drawn|sketched] [by hand|in pencil|with a pencil]",
        ),
        vague=vague.STYLE,
        expressive=(
            "{Names} would be drawn in fine grey pencil lines on white paper, without any colour.",
            "In a pencil sketch, the outlines of {names} would be grey strokes on white paper.",
            "Only the outlines of {names} would remain, drawn by hand with a pencil on a white page.",
        ),
    ),
)

BORDER = WholePicture(
    name="border",
    choices={"colour": tuple(_FRAME_COLOURS), "strength": STRENGTHS},
    apply=_border,
    shows=_is_framed,
    wordings=Wordings(
        words={
            "size": {
                "slight": ("thin", "narrow", "small"),
                "normal": ("",),
                "strong": ("thick", "wide", "broad", "big"),
            },
            "shade": {"slight": ("thin",), "normal": ("plain",), "strong": ("wide",)},
        },
        commands=(
            "add a {size} {colour} [border|frame|edge|picture frame]",
            "add a {size} {colour} [border|frame] [to|around] {it}",
            "[put|draw|place|paint] a {size} {colour} [border|frame|line] around {it}",
            "[give|make] {it} a {size} {colour} [border|frame]",
            "[frame|surround|edge] {it} with {colour}",
            "[put|set] {it} in a {size} {colour} [frame|picture frame]",
            "[border|frame] {it} in {colour}",
            "[surround|enclose] {it} with a {size} {colour} [border|frame]",
            "[create|insert|include] a {size} {colour} [border|frame]",
            "make the [border|edge|frame] {size} {colour}",
            "hang {it} in a {size} {colour} frame",
            "[add|put|place] a {size} {colour} [line|band|edge|margin] [around|along the edges of] {it}",
            "[outline|ring|rim] {it} [with|in] {colour}",
            "[add|use] {size} {colour} borders",
            "give {it} {colour} [edges|borders|margins]",
            "[place|show|mount] {it} in a {size} {colour} frame",
        ),
        phrases=(
            "{size} {colour} [border|frame] [|please|around it]",
            "with a {size} {colour} [border|frame]",
            "a {size} {colour} [border|frame] [|around it]",
            "{it} [needs|should have] a {size} {colour} [border|frame]",
            "{size} {colour} [borders|edges|edge|margin]",
            "[framed|bordered] [in|with] {colour}",
            "in a {size} {colour} [frame|border]",
        ),
        vague=vague.STYLE,
        expressive=(
            "A {shade} {colour} frame would run around {names}, which would stay as before inside it.",
            "{Names} would stay unchanged inside a {shade} {colour} border along all four edges.",
            "The picture would get a {shade} {colour} border on every side, with {names} unchanged.",
        ),
    ),
)

STYLE = (BLUR, VIGNETTE, POSTER, PIXELATE, SKETCH, BORDER)
