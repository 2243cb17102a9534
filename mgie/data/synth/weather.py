"""Families of time and weather: night, sunset, fog."""

import numpy as np

from mgie.data.synth import vague
from mgie.data.synth.family import STRENGTHS, Pixels, WholePicture
from mgie.data.synth.measure import Array, chroma_map, distance, luminance, saturation
from mgie.data.synth.wording import Params, Wordings

_MOONLIGHT = np.array([0.20, 0.29, 0.52], np.float32)
_AIR = np.array([0.80, 0.82, 0.84], np.float32)
_FOG = {"slight": 0.4, "normal": 0.62, "strong": 0.8}
_SUNSET_HEIGHTS = (0.0, 0.45, 1.0)
_SUNSET_LIGHT = np.array([[0.78, 0.42, 0.62], [1.30, 0.74, 0.36], [0.80, 0.42, 0.34]], np.float32)
_SUNSET_GLOW = np.array([[0.10, 0.02, 0.10], [0.24, 0.09, 0.00], [0.06, 0.01, 0.03]], np.float32)


def _down(pixels: Pixels, heights: tuple[float, ...], values: Array) -> Array:
    """Returns values (H, 1, C) that change linearly from the top (height 0) to the bottom (height 1)."""
    rows = (np.arange(len(pixels), dtype=np.float32) + 0.5) / len(pixels)
    return np.stack([np.interp(rows, heights, column) for column in values.T], axis=1).astype(np.float32)[
        :, None
    ]


def _mean(pixels: Pixels) -> float:
    return float(luminance(pixels).mean())


def _blueness(pixels: Pixels) -> float:
    return float((pixels[..., 2].mean() - pixels[..., 0].mean()) / (pixels.mean() + 1e-3))


def _night(pixels: Pixels, params: Params) -> Pixels:
    light = luminance(pixels)[..., None]
    return (0.4 * pixels + 0.6 * light) * _MOONLIGHT


def _is_night(source: Pixels, edited: Pixels, params: Params) -> bool:
    return _mean(edited) <= 0.55 * _mean(source) and _blueness(edited) >= max(0.25, _blueness(source) + 0.1)


def _sunset(pixels: Pixels, params: Params) -> Pixels:
    light = luminance(pixels)[..., None]
    muted = 0.5 * pixels + 0.5 * light
    glow = _down(pixels, _SUNSET_HEIGHTS, _SUNSET_GLOW)
    return np.clip(muted * _down(pixels, _SUNSET_HEIGHTS, _SUNSET_LIGHT) + glow, 0, 1)


def _is_sunset(source: Pixels, edited: Pixels, params: Params) -> bool:
    wanted = chroma_map(_sunset(source, params))
    before = distance(chroma_map(source), wanted)
    return before > 0.02 and distance(chroma_map(edited), wanted) <= 0.5 * before


def _fog(pixels: Pixels, params: Params) -> Pixels:
    # Denser towards the top, where in most photographs things are further away.
    density = _FOG[params["strength"]] * _down(pixels, (0, 1), np.array([[1.15], [0.8]], np.float32))
    return pixels + (_AIR - pixels) * density


def _is_foggy(source: Pixels, edited: Pixels, params: Params) -> bool:
    def to_air(pixels: Pixels) -> float:
        return float(np.abs(pixels - _AIR).mean())

    is_paler = saturation(edited) <= 0.85 * saturation(source) + 0.01
    return to_air(edited) <= (1 - 0.5 * _FOG[params["strength"]]) * to_air(source) and is_paler


NIGHT = WholePicture(
    name="night",
    apply=_night,
    shows=_is_night,
    wordings=Wordings(
        commands=(
            "make {it} [night|nighttime|night time|midnight]",
            "make {it} look like [night|nighttime|midnight]",
            "make {it} look like [the middle of the night|a moonlit night|it was taken at night]",
            "[turn|change|convert] {it} [to|into] [night|nighttime|a night scene|a night shot]",
            "[turn|change|make] [day|the day|daytime] [into|to] night",
            "[change|set] the time [|of day] to [night|midnight]",
            "make it [seem|appear|feel] like [night|nighttime|midnight]",
            "[put|show] {it} [at night|in the moonlight|in the dark of night|under the moon]",
            "let night fall [|over it|on it]",
            "make the sun go down completely",
            "make {it} [moonlit|nocturnal]",
            "[use|apply|add] a [night|moonlight|midnight|day for night] [filter|effect|look]",
            "[light|bathe] {it} [with|in] moonlight",
            "make it [dark outside|look dark outside|night outside]",
            "make the sun [disappear|vanish|go away] [completely|entirely|so it is night]",
            "make {it} [look|seem|feel] [moonlit|nocturnal|like a moonlit scene|like a night scene]",
            "[take away|remove] the [daylight|sun completely]",
            "[put|set|place] {it} [in the night|in the middle of the night|under moonlight]",
            "[add|use|give {it}] [moonlight|a night sky mood|night light]",
            "turn the daylight [off|into moonlight]",
            "let it be [night|midnight|late at night]",
            "make {it} a [night|moonlit|midnight] [scene|shot|photo|picture]",
        ),
        phrases=(
            "[at night|at midnight|in moonlight] [|please]",
            "[night|nighttime|moonlight] [|scene|version|mood|please]",
            "{it} should be at night",
            "what would {it} look like at night",
            "[as|like] a [night|moonlit] [scene|shot|photo]",
            "[moonlit|moonlight|midnight|night time] [scene|picture|look|photo]",
            "[like|as] [a moonlit night|at night|midnight|the middle of the night]",
            "it is night",
            "[only|just] moonlight",
        ),
        vague=vague.MOOD,
        expressive=(
            "Night would fall, and {names} would lie dark and blue under faint moonlight.",
            "{Names} would be wrapped in the dark blue of night, lit only by a pale moon.",
            "Day would turn into night, with {names} in dim blue shadows and no daylight left.",
        ),
    ),
)

SUNSET = WholePicture(
    name="sunset",
    apply=_sunset,
    shows=_is_sunset,
    wordings=Wordings(
        commands=(
            "make {it} [sunset|dusk|evening|golden hour]",
            "make {it} look like [sunset|a sunset|dusk|the golden hour]",
            "make {it} look like [evening|it was taken at sunset|the sun is setting]",
            "[turn|change|convert] {it} [to|into] [sunset|a sunset|a sunset scene|an evening scene]",
            "[change|set] the time [|of day] to [sunset|evening|dusk|golden hour]",
            "make it [seem|appear|feel] like [sunset|dusk|a summer evening]",
            "[put|show] {it} [at sunset|in evening light|at dusk|in the light of the setting sun]",
            "[use|apply|add|give {it}] [a sunset|a golden hour|an evening] [filter|effect|look]",
            "[use|apply|add|give {it}] [a sunset|a golden hour|an evening] [glow|light|mood]",
            "[light|bathe] {it} [with|in] [sunset light|evening light|the light of a setting sun]",
            "let the sun [set|go down]",
            "add a sunset",
            "make {it} [look|seem|feel] like [the evening|sundown|nightfall is near|the end of the day]",
            "let [evening|dusk|the evening] [come|fall|begin]",
            "make the sun [set|sink low|go low]",
            "[add|use|give {it}] [sunset|evening|golden hour] [colours|colors|light]",
            "make {it} a [sunset|dusk|golden hour] [scene|shot|photo|picture]",
            "[show|put] {it} in the [evening|golden|setting] sun",
        ),
        phrases=(
            "[at|during] [sunset|dusk|golden hour] [|please]",
            "[sunset|golden hour|evening] [scene|version|mood|light|please|colours|colors]",
            "{it} should be at [sunset|dusk]",
            "what would {it} look like at [sunset|dusk]",
            "[at|before] [sundown|evening|dusk]",
            "[like|as] [a sunset|at dusk|sundown|golden hour]",
            "[evening|sundown] [sky|mood|sun|glow]",
        ),
        vague=vague.MOOD,
        expressive=(
            "The sun would set, and {names} would glow in orange light below a sky of purple and gold.",
            "{Names} would be lit by the low evening sun, orange below and purple towards the top.",
            "At sunset, {names} would stand in deep orange light with dark reddish shadows.",
        ),
    ),
)

FOG = WholePicture(
    name="fog",
    choices={"strength": STRENGTHS},
    apply=_fog,
    shows=_is_foggy,
    wordings=Wordings(
        words={
            "amount": {"slight": ("thin",), "normal": ("pale",), "strong": ("very thick",)},
            "size": {
                "slight": ("light", "thin", "slight"),
                "normal": ("",),
                "strong": ("thick", "dense", "heavy"),
            },
            "much": {
                "slight": ("slightly", "a bit", "a little"),
                "normal": ("",),
                "strong": ("heavily", "densely", "a lot"),
            },
        },
        commands=(
            "make {it} {very} [foggy|misty|hazy]",
            "make {it} look {very} [foggy|misty|hazy]",
            "add {size} [fog|mist|haze]",
            "add {size} [fog|mist|haze] to {it}",
            "[cover|wrap|shroud|veil] {it} [in|with] {size} [fog|mist]",
            "fill {it} with {size} [fog|mist|haze]",
            "[put|hide] {it} in {size} [fog|mist|haze]",
            "[fog|mist] {it} up {much}",
            "make it a {very} foggy [day|morning]",
            "make it look like a {very} [foggy|misty] [day|morning]",
            "[let {size} fog roll in|bring in {size} fog|fill the air with {size} fog]",
            "change the weather to {size} fog",
            "[use|apply|add] a {size} [fog|mist|haze] [filter|effect]",
            "lay {size} [fog|mist] over {it}",
            "make {it} [look|seem] [lost|hidden] in {size} fog",
            "[let|make] {size} [mist|fog|haze] [rise|come up|spread]",
            "give {it} {size} [fog|mist|haze]",
            "[add|use] a {size} [fog|mist|haze|layer of fog]",
            "make the [air|weather|day] {very} [foggy|misty|hazy]",
        ),
        phrases=(
            "[with|in] {size} [fog|mist]",
            "{size} [fog|mist] [everywhere|please]",
            "{very} [foggy|misty] [weather|day|morning|mood|atmosphere]",
            "{it} should be {very} [foggy|misty]",
            "{size} [fog|mist|haze]",
            "{very} [foggy|misty|hazy] [picture|photo|please]",
            "a {size} [fog|mist|haze]",
        ),
        vague=vague.MOOD,
        expressive=(
            "A {amount} fog would lie over {names}, so that everything would look grey and far away.",
            "{Names} would be veiled in {amount} mist, with all colours fading into a light grey.",
            "{Names} would be seen through {amount} grey fog that takes away contrast and colour.",
        ),
    ),
)

WEATHER = (NIGHT, SUNSET, FOG)
