"""Families that edit one named region of a photograph, or all around its main thing: colour, light, blur."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mgie.data.photographs import Photograph
from mgie.data.synth.colour import COLOURS, GREY, TINT
from mgie.data.synth.family import Family, WholePicture, keeps_the_rest
from mgie.data.synth.measure import Array, blurred, chroma_map, distance, is_blurred, luminance
from mgie.data.synth.scene import Made, Mask, Pixels, Scene
from mgie.data.synth.tone import BRIGHTER, DARKER
from mgie.data.synth.wording import PLACE_WORDS, Params, Split, Wordings, pick
from mgie.errors import DataError

MIN_SHARE, MAX_SHARE = 0.05, 0.85
"""Shares of the picture that a region may have."""
EVERYWHERE = "all over the picture"
_PLACES = (
    ("at the top left", "at the top", "at the top right"),
    ("on the left", "in the middle", "on the right"),
    ("at the bottom left", "at the bottom", "at the bottom right"),
)
PLACES = (*(place for row in _PLACES for place in row), EVERYWHERE)
SILENT = frozenset({"place", "others"})
"""Parameters that an instruction's templates have no slots for."""
_SCENERY = re.compile(
    r"\b(beach|brook|buildings?|bush|bushes|ceiling|clouds?|curtain|dirt|door|dunes|fence|field|floor|foliage|"
    r"forest|grass|ground|highway|house|lake|mountains?|net|ocean|pass|pavement|plants|railroad|river|road|"
    r"rocks?|rug|sand|sea|shore|sky|skyscraper|snow|street|surf|trees?|trunk|wall|water|waterfall|window)$"
)
"""Names of what a photograph's main thing stands in front of."""
_SINGLE = re.compile(r"\b(beach|brook|highway|lake|ocean|river|road|sea|sky|street|waterfall)$")
"""Names of what a photograph hardly shows two of."""
_WHERE_RATE = 1 / 3
_MAX_COMMON = 0.05
"""Share of the smaller of two regions up to which they count as apart."""
_STRONG = {"strength": "strong"}
_DARKEST, _LIGHTEST = 0.3, 0.6
_BLUR = 0.05
_RIM = 0.012


def place_of(mask: Mask) -> str:
    """Returns where most of a mask lies, one of `PLACES`."""
    if mask.mean() > 0.5:
        return EVERYWHERE
    row, column = (
        int(np.digitize(np.flatnonzero(line).repeat(line[line > 0]).mean() / len(line), (0.4, 0.6)))
        for line in (mask.sum(axis=1), mask.sum(axis=0))
    )
    return _PLACES[row][column]


def beside(scene: Scene, mask: Mask) -> str:
    """Returns the most prominent named thing apart from a mask, with its place, or "the rest of ..."."""
    for name in scene.names:
        other = scene.regions.get(name)
        if other is not None and other.mean() >= MIN_SHARE / 2:
            common = (other & mask).sum()
            if common <= _MAX_COMMON * min(other.sum(), mask.sum()):
                return f"the {name} {place_of(other)}"
    return "the rest of the picture"


def is_thing(name: str) -> bool:
    """Returns whether a name is that of a thing or a living being, not of scenery such as sky and walls."""
    return _SCENERY.search(name) is None


@dataclass(frozen=True, kw_only=True)
class Region(Family):
    """An edit of a named region; the rest stays as it is."""

    kind = "region"
    apply: Callable[[Scene, Mask, Params], Pixels]
    """The picture operation; what it makes outside the mask is not used."""
    shows: Callable[[Made, Pixels, Params], bool]
    """Whether a picture shows the edit inside the mask."""
    fits: Callable[[str, Params], bool] = lambda region, params: True
    """Whether the family edits a region of such a name so; no parameters mean in any way."""
    cover: Callable[[Params, int, int], Array] | None = None
    """How much of each pixel what it makes covers, a pattern, by height and width; None for all."""
    around: bool = False
    """Whether everything but the region is edited, which then is the photograph's main thing."""
    least_change: float = 0.1
    """Mean change inside the mask that an edit must make to be drawn."""
    named: tuple[str, ...] = ("region", "others")

    def takes(self, photograph: Photograph) -> bool:
        """Returns whether one of its regions has a fitting name."""
        return bool(self._fitting(dict(photograph.regions), photograph.names, {}))

    def masks(self, scene: Scene) -> Mapping[str, Mask]:
        """Returns the regions to choose from."""
        return scene.regions

    def sample(self, scene: Scene, rng: np.random.Generator, split: Split = "train") -> Params | None:
        """Returns parameters for one of the larger regions, where the edit changes enough to be seen."""
        drawn = super().sample(scene, rng, split)
        assert drawn is not None
        masks = {
            name: mask for name, mask in self.masks(scene).items() if MIN_SHARE <= mask.mean() <= MAX_SHARE
        }
        if not (fitting := self._fitting(masks, scene.names, drawn)):
            return None
        region = pick(rng, fitting)
        params = drawn | {"region": region, "place": place_of(masks[region])}
        params["others"] = beside(scene, masks[region])
        made = self.make(scene, params)
        assert made.mask is not None
        change = np.abs(made.target - made.source)[made.mask].mean()
        return params if change >= self.least_change and self.shows(made, made.target, params) else None

    def asked(self, scene: Scene, params: Params, rng: np.random.Generator) -> Params:
        """Returns them with where the region is: at times, and always where its name may fit others too."""
        region, where = params["region"], PLACE_WORDS.get(params["place"])
        several = scene.unmarked and not _SINGLE.search(region)
        if where and (several or rng.random() < _WHERE_RATE):
            return params | {"region": f"{region} {pick(rng, where)}"}
        return params

    def make(self, scene: Scene, params: Params) -> Made:
        """Returns the scene, and with the operation inside the mask, whose edge is hard."""
        masks, region = self.masks(scene), params["region"]
        if region not in masks:
            known = ", ".join(masks) or "none"
            raise DataError(f"{self.name} is for a region {region!r}; the scene has {known}")
        mask = ~masks[region] if self.around else masks[region]
        target = np.where(mask[..., None], self.apply(scene, mask, params), scene.pixels)
        if self.cover is None:
            return Made(source=scene.pixels, target=target, mask=mask)
        plain, cover = target, self.cover(params, *mask.shape)
        target = scene.pixels + (plain - scene.pixels) * cover[..., None]
        return Made(source=scene.pixels, target=target, mask=mask, plain=plain, cover=cover)

    def check(self, made: Made, edited: Pixels, params: Params) -> bool:
        """Returns whether a picture shows the edit inside the mask, and there alone."""
        return keeps_the_rest(made, edited) and self.shows(made, edited, params)

    def _fitting(self, regions: Mapping[str, object], names: Sequence[str], params: Params) -> list[str]:
        if self.around:
            return [name for name in names[:1] if name in regions and is_thing(name)]
        return [name for name in regions if self.fits(name, params)]


def inside(made: Made, pixels: Pixels) -> Pixels:
    """Returns the pixels inside the mask as a picture one pixel wide, (N, 1, 3)."""
    return pixels[made.mask][:, None]


def _as_whole(family: WholePicture) -> Callable[[Made, Pixels, Params], bool]:
    """Returns the check of what is inside the mask by that of a family, which looks at each pixel alone."""
    return lambda made, edited, params: family.shows(
        inside(made, made.source), inside(made, edited), params | _STRONG
    )


def _tint(scene: Scene, mask: Mask, params: Params) -> Pixels:
    # On black cloth and white walls a colour is hardly seen, so these come to a middle light before.
    pixels, light = scene.pixels, float(luminance(scene.pixels)[mask].mean().clip(0.02, 1))
    if light < _DARKEST:
        pixels = pixels ** float(np.log(_DARKEST) / np.log(light))
    elif light > _LIGHTEST:
        pixels = pixels * (_LIGHTEST / light)
    return TINT.apply(pixels, params | _STRONG)


def _is_tinted(made: Made, edited: Pixels, params: Params) -> bool:
    before, after, wanted = (chroma_map(inside(made, p)) for p in (made.source, edited, made.target))
    return distance(before, wanted) > 0.1 and distance(after, wanted) <= 0.5 * distance(before, wanted)


def _blur(scene: Scene, mask: Mask, params: Params) -> Pixels:
    # Divided by the share of the mask under the blur, so that nothing of the main thing bleeds into it.
    share = blurred(mask.astype(np.float32), _BLUR)[..., None]
    return (blurred(scene.pixels * mask[..., None], _BLUR) / np.maximum(share, 1e-2)).clip(0, 1)


def _is_blurred(made: Made, edited: Pixels, params: Params) -> bool:
    # Away from the rim of the main thing, which stays sharp.
    assert made.mask is not None
    inner = blurred(made.mask.astype(np.float32), _RIM) > 0.99
    if not inner[:-1, :-1].any():
        return False
    before, after, wanted = (luminance(pixels) for pixels in (made.source, edited, made.target))
    return is_blurred(before, after, wanted, inner)


REGION_TINT = Region(
    name="region_tint",
    choices={"colour": tuple(COLOURS), "place": PLACES},
    apply=_tint,
    shows=_is_tinted,
    weight=4,
    wordings=Wordings(
        words={"colour": TINT.wordings.words["colour"]},
        silent=SILENT,
        commands=(
            "[make|turn|paint|colour|color|dye|tint] the {region} {colour}",
            "[change|set|switch] the [colour|color] of the {region} to {colour}",
            "[change|turn] the {region} [to|into] {colour}",
            "give the {region} a {colour} [colour|tone|hue|tint]",
            "make the {region} [look|appear|all|completely|entirely] {colour}",
            "[recolour|recolor] the {region} [in|to|as] {colour}",
            "make {colour} the colour of the {region}",
            "[cover|fill] the {region} with {colour} [|paint|colour]",
            "use {colour} for the {region}",
            "replace the [colour|color] of the {region} with {colour}",
            "[let|have] the {region} be {colour}",
            "show the {region} in {colour}",
        ),
        phrases=(
            "{colour} {region} [|please|instead]",
            "the {region} in {colour} [|please]",
            "the {region} should be {colour}",
            "i [want|would like|need] the {region} [|to be] {colour}",
            "{region} [to|in] {colour}",
            "what if the {region} were {colour}",
        ),
        vague=(
            "do something with the [colours|colors]",
            "[change|play with|try other] [|some|one of the] [colours|colors]",
            "[recolour|recolor|repaint] [something|one thing|a part of it]",
            "give one [thing|part|area] [another|a new|a different] [colour|color]",
        ),
        expressive=(
            "The {region} {place} would turn a strong {colour}, and {others} would look the same as before.",
            "A strong {colour} would cover the {region} {place}, while {others} would stay the same.",
            "The {region} {place} would be {colour} in light and shadow, with {others} left alone.",
            "Only the {region} {place} would change colour, to a strong {colour}, next to {others}.",
        ),
    ),
)

REGION_BRIGHTER = Region(
    name="region_brighter",
    choices={"place": PLACES},
    apply=lambda scene, mask, params: BRIGHTER.apply(scene.pixels, _STRONG),
    shows=_as_whole(BRIGHTER),
    wordings=Wordings(
        silent=SILENT,
        commands=(
            "make the {region} [|much|a lot|far] [brighter|lighter]",
            "[brighten|lighten] the {region} [|a lot|strongly|considerably]",
            "[brighten|light|lighten] up the {region}",
            "brighten the {region} up",
            "[increase|raise|boost|turn up] the [brightness|exposure|light] of the {region}",
            "[add|bring] more light to the {region}",
            "[shine|put|throw] a [bright|strong] light on the {region}",
            "[lift|lighten] the shadows of the {region}",
            "give the {region} more [light|brightness]",
            "illuminate the {region}",
            "let more light fall on the {region}",
        ),
        phrases=(
            "[brighter|lighter] {region} [|please]",
            "the {region} [should|could|must] be [brighter|lighter]",
            "more light on the {region}",
            "i want the {region} [brighter|lighter]",
            "{region} [brighter|lighter|less dark]",
        ),
        vague=(
            "[change|do something with] the light",
            "[change|adjust|mend|improve] the [lighting|exposure] [|in one place]",
        ),
        expressive=(
            "The {region} {place} would become far brighter, and {others} would look the same as before.",
            "Bright light would fall on the {region} {place}, while {others} would stay in the same light.",
            "Only the {region} {place} would be much lighter than before, next to {others}.",
        ),
    ),
)

REGION_DARKER = Region(
    name="region_darker",
    choices={"place": PLACES},
    apply=lambda scene, mask, params: DARKER.apply(scene.pixels, _STRONG),
    shows=_as_whole(DARKER),
    wordings=Wordings(
        silent=SILENT,
        commands=(
            "make the {region} [|much|a lot|far] [darker|dimmer]",
            "[darken|dim] the {region} [|a lot|strongly|considerably]",
            "[dim|tone] down the {region}",
            "[decrease|reduce|lower|turn down|cut] the [brightness|exposure|light] of the {region}",
            "[take|remove] [some|most of the] light from the {region}",
            "[put|hide|leave] the {region} in [shadow|the shade|the dark]",
            "let [a shadow|darkness] fall on the {region}",
            "give the {region} less [light|brightness]",
            "make the {region} less bright",
            "underexpose the {region}",
        ),
        phrases=(
            "[darker|dimmer] {region} [|please]",
            "the {region} [should|could|must] be [darker|dimmer|less bright]",
            "less light on the {region}",
            "i want the {region} [darker|dimmer]",
            "{region} [darker|dimmer|less bright]",
            "the {region} in shadow",
        ),
        vague=REGION_BRIGHTER.wordings.vague,
        expressive=(
            "The {region} {place} would become far darker, and {others} would look the same as before.",
            "A deep shadow would fall on the {region} {place}, while {others} would stay in the same light.",
            "Only the {region} {place} would be much dimmer than before, next to {others}.",
        ),
    ),
)

_STAND_OUT = (
    "make the [subject|main thing|main subject] [stand out|the focus|more prominent]",
    "draw [attention|the eye] to the [subject|main thing|main subject]",
    "do something with the background",
    "[calm|tone down|change] the background",
    "make the background [less distracting|less busy|calmer]",
)

BACKGROUND_BLUR = Region(
    name="background_blur",
    choices={"place": PLACES},
    apply=_blur,
    shows=_is_blurred,
    around=True,
    least_change=0.035,
    wordings=Wordings(
        silent=SILENT | {"region"},
        commands=(
            "[blur|soften|defocus|smooth] the background",
            "[blur|soften|defocus] [everything behind|all but|everything but|everything except] the {region}",
            "blur the [background|rest|surroundings] [a lot|strongly|heavily]",
            "[put|throw|move] the background out of focus",
            "make the background [blurry|blurred|out of focus|soft|unsharp]",
            "make everything [but|except|around] the {region} [blurry|blurred|out of focus]",
            "keep only the {region} [sharp|in focus]",
            "[focus|put the focus] on the {region} [only|alone]",
            "[add|use|give it] [a shallow depth of field|bokeh|a portrait mode blur|background blur]",
            "[keep|leave] the {region} [sharp|in focus] and blur the [rest|background]",
            "make it look like [portrait mode|a shallow depth of field]",
        ),
        phrases=(
            "[blurred|blurry|soft] background [|please]",
            "background out of focus",
            "only the {region} [in focus|sharp]",
            "[bokeh|portrait mode|shallow depth of field]",
            "the background should be [blurry|blurred|out of focus]",
        ),
        vague=_STAND_OUT,
        expressive=(
            "The {region} {place} would stay sharp, and all around would be blurred and out of focus.",
            "Everything behind the {region} {place} would melt into a soft blur, as with a portrait lens.",
            "With {others} strongly blurred, only the {region} {place} would be in focus.",
        ),
    ),
)

BACKGROUND_GREY = Region(
    name="background_grey",
    choices={"place": PLACES},
    apply=lambda scene, mask, params: GREY.apply(scene.pixels, {}),
    shows=_as_whole(GREY),
    around=True,
    least_change=0.03,
    weight=2,
    wordings=Wordings(
        silent=SILENT | {"region"},
        commands=(
            "make the background [black and white|grey|gray|colourless|monochrome]",
            "[turn|change] the background [to|into] [black and white|greyscale|grayscale]",
            "make everything [but|except|around] the {region} [black and white|grey|gray|colourless]",
            "[keep|leave|show] only the {region} in [colour|color]",
            "[keep|leave] the {region} in [colour|color] and make the rest [grey|black and white]",
            "[remove|take out|take away] [all colour|the colour] [from|of] the background",
            "desaturate [the background|everything but the {region}|all but the {region}]",
            "[drain|take] the colour from everything but the {region}",
            "let only the {region} [keep its colour|have colour|be colourful]",
            "[use|add|apply] [selective colour|a colour splash] on the {region}",
        ),
        phrases=(
            "[black and white|grey|gray|monochrome|colourless] background [|please]",
            "only the {region} in [colour|color]",
            "colour only on the {region}",
            "the background should be [black and white|grey|gray]",
            "everything but the {region} in [black and white|grey]",
        ),
        vague=_STAND_OUT,
        expressive=(
            "The {region} {place} would keep all colours, and everything around would turn black and white.",
            "Everything but the {region} {place} would lose its colour and turn to shades of grey.",
            "Only the {region} {place} would stay in colour, with {others} in black and white.",
        ),
    ),
)

REGION = (REGION_TINT, REGION_BRIGHTER, REGION_DARKER, BACKGROUND_BLUR, BACKGROUND_GREY)
