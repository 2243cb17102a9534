"""Families that fill a region with something else: skies, grounds, cloth patterns, other photographs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mgie.data.photographs import Photograph
from mgie.data.synth.colour import COLOURS
from mgie.data.synth.material import GROUNDS, PATTERNS, SKIES, ground, pattern, sky
from mgie.data.synth.measure import Array, luminance
from mgie.data.synth.region import PLACES, SILENT, Region, inside
from mgie.data.synth.scene import Made, Mask, Pixels, Scene
from mgie.data.synth.wording import Params, Split, Wordings

_KINDS: dict[str, str] = {
    name: kind
    for kind, names in {
        "grass": ("grass", "field", "playing field", "sown field", "flower field"),
        "sand": ("sand", "beach", "dirt", "dunes"),
        "snow": ("snow", "snowy ground"),
        "water": ("water", "sea", "ocean", "lake", "river"),
        "stone": ("road", "street", "highway", "pavement", "floor", "rug", "carpet"),
    }.items()
    for name in names
}
"""What grounds are made of, by name; they are filled with something else."""
_CLOTHES = re.compile(
    r"blazer|blouse|bodysuit|cape|cardigan|coat|dress|jacket|jeans|jumper|leggings|pants|romper|scarf|shirt|"
    r"shorts|skirt|stockings|suit|sweater|sweatshirt|t-shirt|tights|top|vest"
)
_PAINTS: dict[str, tuple[float, float, float]] = {
    "white": (1.0, 1.0, 1.0),
    "black": (0.03, 0.03, 0.03),
    **{name: COLOURS[name] for name in ("red", "yellow", "green", "blue", "purple", "pink", "orange")},
}
_LEAST_SHADING = 0.1
_TONES: dict[str, tuple[float, float, float]] = {
    "white": (0.92, 0.92, 0.92),
    "pale grey": (0.75, 0.75, 0.75),
    "grey": (0.52, 0.52, 0.52),
    "dark grey": (0.32, 0.32, 0.32),
    "black": (0.10, 0.10, 0.10),
    "brown": (0.47, 0.35, 0.24),
    "dark brown": (0.26, 0.19, 0.12),
    "beige": (0.74, 0.66, 0.54),
    "orange": (0.80, 0.50, 0.30),
    "green": (0.38, 0.46, 0.22),
    "dark green": (0.20, 0.26, 0.13),
    "blue": (0.33, 0.52, 0.77),
    "pale blue": (0.62, 0.74, 0.88),
    "dark blue": (0.12, 0.24, 0.42),
}
"""What skies, mountains and buildings look like on average: RGB in [0, 1]."""
_CLEARLY_OTHER = 0.2


def _fills(made: Made, edited: Pixels, params: Params) -> bool:
    """Returns whether the inside of the mask is at least half of the way to the target, pixel by pixel."""
    source, pixels, target = (inside(made, p) for p in (made.source, edited, made.target))
    return bool(np.abs(pixels - target).mean() <= 0.5 * np.abs(source - target).mean())


def _paint(scene: Scene, mask: Mask, params: Params) -> Pixels:
    # In the light of the cloth, whose folds stay to be seen; black cloth shades almost nothing.
    light = luminance(scene.pixels) + _LEAST_SHADING
    shading = (light / light[mask].mean()).clip(0.4, 1.3)[..., None]
    return np.clip(np.array(_PAINTS[params["colour"]], np.float32) * shading, 0, 1)


def _mean_colour(made: Made, pixels: Pixels) -> Array:
    return inside(made, pixels).mean(axis=(0, 1))


def _has_moved(made: Made, edited: Pixels, params: Params) -> bool:
    before, after, wanted = (_mean_colour(made, p) for p in (made.source, edited, made.target))
    return bool(np.linalg.norm(after - wanted) <= 0.5 * np.linalg.norm(before - wanted))


def _tone(colour: Array) -> str:
    """Returns the name of the nearest of `_TONES`."""
    distances = np.linalg.norm(np.array([*_TONES.values()]) - colour, axis=1)
    return [*_TONES][int(distances.argmin())]


@dataclass(frozen=True, kw_only=True)
class Exchange(Region):
    """A region exchanged for that of another photograph, as the composites show it."""

    def takes(self, photograph: Photograph) -> bool:
        """Returns whether it has a composite."""
        return bool(photograph.composites)

    def masks(self, scene: Scene) -> Mapping[str, Mask]:
        """Returns what the composites exchange."""
        return {name: mask for name, (mask, _) in scene.composites.items()}

    def sample(self, scene: Scene, rng: np.random.Generator, split: Split = "train") -> Params | None:
        """Returns a composite's region with what colour it gets, where that is clearly another.

        That it would be "darker" left open how much, and of what colour: the mean over all composites that a
        description fits was at least half of the way to each in 55% of them, and is in 92% by these names.
        """
        params = super().sample(scene, rng, split)
        if params is None:
            return None
        made = self.make(scene, params)
        before, after = (_mean_colour(made, pixels) for pixels in (made.source, made.target))
        is_other = np.linalg.norm(after - before) >= _CLEARLY_OTHER and _tone(after) != _tone(before)
        return params | {"colour": _tone(after)} if is_other else None


REGION_SKY = Region(
    name="region_sky",
    choices={"sky": SKIES, "place": PLACES},
    apply=lambda scene, mask, params: sky(params["sky"], *mask.shape),
    shows=_fills,
    fits=lambda region, params: region == "sky",
    weight=2,
    wordings=Wordings(
        words={
            "sky": {
                "clear blue sky": ("clear blue sky", "bright blue sky", "cloudless blue sky"),
                "sunset sky": ("sunset sky", "orange sunset sky", "glowing sunset sky"),
                "starry night sky": ("starry night sky", "night sky full of stars", "dark starry sky"),
                "grey cloudy sky": ("grey cloudy sky", "grey overcast sky", "dull grey sky"),
                "pink dawn sky": ("pink dawn sky", "pale pink sky", "pink morning sky"),
            }
        },
        silent=SILENT | {"region"},
        commands=(
            "[replace|exchange] the sky [with|by] a {sky}",
            "[swap|change|switch] the sky [for|to|into] a {sky}",
            "[turn|make] the sky into a {sky}",
            "make it a {sky}",
            "[give it|add|put in|use|insert|paint|paste in] a {sky}",
            "make the sky look like a {sky}",
            "[put|place|set] it under a {sky}",
            "[show|have|let there be] a {sky} [|above|instead]",
            "let it have a {sky}",
            "put a {sky} [behind everything|in place of this one|above it all]",
        ),
        phrases=(
            "a {sky} [|please|instead]",
            "the sky should be a {sky}",
            "i [want|would like|need] a {sky}",
            "under a {sky}",
            "it needs a {sky}",
            "with a {sky} [|instead]",
        ),
        vague=(
            "[change|replace|improve|exchange] the sky",
            "do something with the sky",
            "[give it|use] [another|a new|a different] sky",
            "make the sky [special|nicer|less boring|more interesting]",
            "change the [weather|mood|time of day]",
            "give it [a new|another|a different] atmosphere",
        ),
        expressive=(
            "The sky {place} would become a {sky}, and {others} would look the same as before.",
            "Above {others}, the sky {place} would be replaced with a {sky} from edge to edge.",
            "Next to {others}, which would stay unchanged, the sky {place} would turn into a {sky}.",
        ),
    ),
)

REGION_GROUND = Region(
    name="region_ground",
    choices={"ground": GROUNDS, "place": PLACES},
    apply=lambda scene, mask, params: ground(params["ground"], *mask.shape),
    shows=_fills,
    fits=lambda region, params: region in _KINDS and _KINDS[region] != params.get("ground"),
    weight=2,
    wordings=Wordings(
        words={
            "ground": {
                "grass": ("grass", "green grass", "a lawn", "fresh grass"),
                "sand": ("sand", "yellow sand", "desert sand", "dry sand"),
                "snow": ("snow", "white snow", "fresh snow", "deep snow"),
                "water": ("water", "blue water", "rippling water", "deep blue water"),
            }
        },
        silent=SILENT,
        commands=(
            "[turn|change|convert|transform|make] the {region} into {ground}",
            "[replace|exchange] the {region} [with|by] {ground}",
            "[cover|fill|flood] the {region} with {ground}",
            "[swap|exchange] the {region} for {ground}",
            "[put|spread|lay|use] {ground} [where the {region} is|in place of the {region}]",
            "[put|spread|lay] {ground} [on|over|all over] the {region}",
            "make the {region} [look like|a place of|out of] {ground}",
            "[bury|hide] the {region} under {ground}",
        ),
        phrases=(
            "{ground} instead of the {region}",
            "{ground} [on|in place of|where now is] the {region}",
            "the {region} should be {ground}",
            "i want {ground} instead of the {region}",
            "{region} [to|into] {ground}",
        ),
        vague=(
            "[change|replace|exchange] the ground",
            "do something with the ground",
            "[give it|use] [another|a new|a different] ground",
            "make it match [the season|another place|another season]",
        ),
        expressive=(
            "The {region} {place} would turn into {ground}, and {others} would look the same as before.",
            "Instead of the {region} {place}, there would be {ground}, with {others} left alone.",
            "Next to {others}, which would stay unchanged, {ground} would cover the {region} {place}.",
        ),
    ),
)

REGION_PATTERN = Region(
    name="region_pattern",
    choices={"pattern": PATTERNS, "colour": tuple(_PAINTS), "place": PLACES},
    apply=_paint,
    cover=lambda params, height, width: pattern(params["pattern"], height, width),
    shows=_fills,
    fits=lambda region, params: _CLOTHES.fullmatch(region) is not None,
    least_change=0.12,
    weight=2,
    wordings=Wordings(
        words={
            "pattern": {
                "stripes": ("stripes", "stripes", "horizontal stripes"),
                "dots": ("dots", "polka dots", "round dots"),
                "checks": ("checks", "squares", "check squares"),
            }
        },
        silent=SILENT,
        commands=(
            "[give|add to] the {region} {colour} {pattern}",
            "[put|paint|draw|print|sew|place] {colour} {pattern} [on|onto] the {region}",
            "[cover|decorate|pattern|fill] the {region} with {colour} {pattern}",
            "add {colour} {pattern} to the {region}",
            "make the {region} have {colour} {pattern}",
            "make the {region} [look like|a piece with] {colour} {pattern}",
            "[change|turn] the [cloth|fabric|texture|pattern] of the {region} [to|into] {colour} {pattern}",
            "let the {region} have {colour} {pattern}",
            "use {colour} {pattern} for the {region}",
        ),
        phrases=(
            "{colour} {pattern} on the {region} [|please]",
            "the {region} with {colour} {pattern}",
            "the {region} should have {colour} {pattern}",
            "i [want|would like] {colour} {pattern} on the {region}",
            "{region} with {colour} {pattern}",
        ),
        vague=(
            "[change|play with|liven up] the [clothes|outfit|fabric]",
            "do something with the [clothes|outfit|fabric]",
            "make the [clothes|outfit] [less plain|less boring|more fun]",
            "add a pattern [|somewhere]",
        ),
        expressive=(
            "The {region} {place} would have {colour} {pattern} all over, and {others} would stay unchanged.",
            "Large {colour} {pattern} would cover the cloth of the {region} {place}, next to {others}.",
            "The {region} {place} would have large {colour} {pattern} that follow the folds of the cloth.",
        ),
    ),
)

REGION_EXCHANGE = Exchange(
    name="region_exchange",
    choices={"colour": tuple(_TONES), "place": PLACES},
    apply=lambda scene, mask, params: scene.composites[params["region"]][1],
    shows=_has_moved,
    wordings=Wordings(
        silent=SILENT,
        commands=(
            "[replace|exchange] the {region} [with|by] [something|a version that is] {colour}",
            "[swap|exchange|change] the {region} for [something|a version that is] {colour}",
            "[take|use|put in|paste in] [another|a different] version of the {region}, one that is {colour}",
            "[replace|swap|exchange] the {region}, make it all {colour}",
            "[give it|show] [another kind|another version] of the {region}, [but|only] {colour}",
            "[replace|exchange] the {region} so that the place looks {colour}",
        ),
        phrases=(
            "another version of the {region}, {colour} [|this time|please]",
            "the {region} from [another|a different] photo, {colour}",
            "something {colour} instead of the {region}",
        ),
        vague=(
            "[replace|exchange|change] a part of [it|the scenery]",
            "[use|take|paste in] [a part|a piece] of another [photo|picture]",
            "[replace|exchange] something in [it|the scenery]",
            "[change|do something with] the scenery",
        ),
        expressive=(
            "The {region} {place} would give way to another photo's, which is {colour}, next to {others}.",
            "The {region} {place} would be exchanged for something {colour}, and {others} would stay.",
            "In place of the {region} {place} there would be something {colour}.",
        ),
    ),
)

REPLACEMENT = (REGION_SKY, REGION_GROUND, REGION_PATTERN, REGION_EXCHANGE)
