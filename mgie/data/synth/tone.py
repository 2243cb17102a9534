"""Families of tone: brighter, darker, more and less contrast."""

import numpy as np

from mgie.data.synth import vague
from mgie.data.synth.family import STRENGTHS, Pixels, WholePicture
from mgie.data.synth.measure import luminance
from mgie.data.synth.wording import Params, Wordings, less, too

_SCREEN = {"slight": 1.35, "normal": 1.8, "strong": 2.7}
_SHADE = {"slight": 0.75, "normal": 0.52, "strong": 0.3}
_STRETCH = {"slight": 1.3, "normal": 1.7, "strong": 2.4}
_FLATTEN = {"slight": 0.7, "normal": 0.45, "strong": 0.25}
_MID_GREY = 0.5


def _mean(pixels: Pixels) -> float:
    return float(luminance(pixels).mean())


def _spread(pixels: Pixels) -> float:
    return float(luminance(pixels).std())


def _brighten(pixels: Pixels, params: Params) -> Pixels:
    return 1 - (1 - pixels) ** _SCREEN[params["strength"]]


def _is_brighter(source: Pixels, edited: Pixels, params: Params) -> bool:
    # A picture that is almost white cannot become 15 % lighter; there, the darkness that is left must shrink.
    before, after = _mean(source), _mean(edited)
    return after > 1.15 * before or 1 - after < 0.75 * (1 - before)


def _darken(pixels: Pixels, params: Params) -> Pixels:
    return pixels * _SHADE[params["strength"]]


def _is_darker(source: Pixels, edited: Pixels, params: Params) -> bool:
    return _mean(edited) < 0.85 * _mean(source)


def _stretch(pixels: Pixels, params: Params) -> Pixels:
    middle = _mean(pixels)
    return np.clip(middle + (pixels - middle) * _STRETCH[params["strength"]], 0, 1)


def _has_more_contrast(source: Pixels, edited: Pixels, params: Params) -> bool:
    return _spread(edited) > 1.1 * _spread(source)


def _flatten(pixels: Pixels, params: Params) -> Pixels:
    middle = (_mean(pixels) + _MID_GREY) / 2
    return middle + (pixels - middle) * _FLATTEN[params["strength"]]


def _has_less_contrast(source: Pixels, edited: Pixels, params: Params) -> bool:
    # A darker picture has less spread too, but not less in relation to its light.
    before, after = (_spread(p) / (_mean(p) + 1e-3) for p in (source, edited))
    return _spread(edited) < 0.82 * _spread(source) and after < 0.9 * before


BRIGHTER = WholePicture(
    name="brighter",
    choices={"strength": STRENGTHS},
    apply=_brighten,
    shows=_is_brighter,
    wordings=Wordings(
        commands=(
            "make {it} {how} [brighter|lighter]",
            "make {it} [look|appear] {how} [brighter|lighter]",
            "[brighten|lighten] {it} {much}",
            "[brighten|lighten] {it} up {much}",
            "[brighten|lighten] up {it} {much}",
            "[increase|raise|boost|up|turn up|bump up|add to|enhance] the brightness {much}",
            "[increase|raise|boost] the [brightness|exposure] of {it} {much}",
            "[increase|raise|turn up] the [exposure|light|lighting|light level] {much}",
            "[add|give {it}|bring in|let in] {how} more [light|brightness]",
            "turn {it} {how} brighter",
            "give {it} a {size} brightness boost",
            "[fix|correct] the [underexposure|underexposed look|dark exposure]",
            "turn [on|up] the lights",
            "[get|have] {it} {how} [brighter|lighter]",
            "let there be light",
            "[increase|raise|lift] the light in {it} {much}",
            "make [everything|all of it] {how} [brighter|lighter]",
            "[add|use] {how} more [lighting|illumination]",
            "[improve|increase|boost] the [lighting|illumination] {much}",
            "shed {how} more light on [it|this|the scene]",
            "[lift|raise|lighten|brighten] the shadows so that {it} is brighter",
            "[let|bring] {how} more [light|daylight|sunlight] in",
            "remove the darkness {much}",
            "[illuminate|light up] {it} {much}",
            "reduce the darkness {much}",
            *less("dark|dim|gloomy|shadowy|underexposed"),
        ),
        phrases=(
            "[{how} brighter|{how} lighter]",
            "{how} more [light|brightness]",
            "too dark, [make it brighter|brighten it|lighten it up]",
            "{it} should be {how} [brighter|lighter]",
            "{it} [needs|could use] {how} more light",
            "{how} more [lighting|daylight]",
            "{it} is [too dim|so dark|underexposed|badly lit]",
            "[brighter|lighter] [please|picture|photo|version]",
            *too("dark|dim|gloomy|shadowy|underexposed"),
        ),
        vague=vague.LIGHT,
        expressive=(
            "{Names} would become {amount} brighter, as if more daylight lifted every shadow.",
            "The whole picture would be {amount} lighter, with {names} in bright light.",
            "{Names} would be {amount} more brightly lit, and all dark colours would turn lighter.",
            "Light would flood in, so that {names} would look {amount} brighter than before.",
        ),
    ),
)

DARKER = WholePicture(
    name="darker",
    choices={"strength": STRENGTHS},
    apply=_darken,
    shows=_is_darker,
    wordings=Wordings(
        commands=(
            "make {it} {how} [darker|dimmer]",
            "make {it} [look|appear] {how} [darker|dimmer]",
            "[darken|dim] {it} {much}",
            "[dim|tone] {it} down {much}",
            "[decrease|reduce|lower|turn down|bring down|cut|drop] the brightness {much}",
            "[decrease|reduce|lower] the [brightness|exposure] of {it} {much}",
            "[decrease|reduce|lower|turn down] the [exposure|light|lighting|light level] {much}",
            "[take out|remove] some [light|brightness]",
            "turn {it} {how} darker",
            "[tone|turn] down the [light|brightness] {much}",
            "[fix|correct] the [overexposure|overexposed look|too bright exposure]",
            "[dim|turn down] the lights {much}",
            "underexpose {it} {much}",
            "[decrease|reduce|lower|cut] the light in {it} {much}",
            "make [everything|all of it] {how} [darker|dimmer]",
            "[reduce|decrease|lower] the [illumination|luminosity] {much}",
            "[use|give {it}] {how} less [light|lighting]",
            "make {it} {how} [gloomier|shadier]",
            "[block|take out|remove] {how} more [of the light|daylight]",
            "[pull|bring] the exposure down {much}",
            "make {it} [dark|dim|gloomy]",
            "[reduce|lower] how bright {it} is",
            *less("bright|light|sunny|overexposed|glaring"),
        ),
        phrases=(
            "[{how} darker|{how} dimmer]",
            "{how} less [light|bright|brightness]",
            "too bright, [make it darker|darken it|dim it]",
            "{it} should be {how} [darker|dimmer|less bright]",
            "{how} less [lighting|daylight]",
            "{it} is [so bright|overexposed|too light|blinding]",
            "[darker|dimmer] [please|picture|photo|version]",
            "[lower|reduced|less] brightness",
            *too("bright|light|sunny|overexposed|glaring"),
        ),
        vague=vague.LIGHT,
        expressive=(
            "{Names} would become {amount} darker, as if the light had been turned down.",
            "The whole picture would be {amount} dimmer, with {names} sinking into shadow.",
            "{Names} would be {amount} less brightly lit, and every bright place would turn darker.",
            "Less light would fall on the scene, so that {names} would look {amount} darker than before.",
        ),
    ),
)

CONTRAST_UP = WholePicture(
    name="contrast_up",
    choices={"strength": STRENGTHS},
    apply=_stretch,
    shows=_has_more_contrast,
    wordings=Wordings(
        commands=(
            "[increase|raise|boost|up|turn up|bump up|enhance|strengthen] the contrast {much}",
            "[increase|raise|boost|enhance] the contrast of {it} {much}",
            "[add|give {it}|use] {how} more contrast",
            "make {it} {how} more [contrasty|contrasted|punchy]",
            "make {it} [pop|stand out] {much} with contrast",
            "make the darks darker and the lights lighter {much}",
            "make the shadows darker and the highlights brighter {much}",
            "make the [blacks|shadows] deeper and the [whites|highlights] brighter {much}",
            "make {it} {how} higher in contrast",
            "[deepen the shadows|darken the shadows] and [lift|brighten] the highlights {much}",
            "give {it} a {size} contrast boost",
            "make the contrast {how} [higher|stronger|bigger|greater]",
            "[make|get] {it} {how} [contrastier|punchier]",
            "[bring out|amplify|intensify|sharpen|improve] the contrast {much}",
            "make the dark parts darker and the [light|bright|white] parts [lighter|brighter] {much}",
            "make the [darks|dark tones] darker and the [lights|light tones] [brighter|lighter] {much}",
            "[widen|stretch] the [tonal range|range of tones|distance between light and dark] {much}",
            "[push|move] [light and dark|shadows and highlights] [further|farther] apart {much}",
            "make {it} [crisp|punchy|striking|bold] with {how} more contrast",
            "give {it} {how} more [punch|contrast|depth]",
            "make the highlights brighter and the shadows darker {much}",
            *less("flat|hazy|soft in tone|low in contrast"),
        ),
        phrases=(
            "the contrast [should|must] be {how} [higher|stronger]",
            "{how} more contrast",
            "{how} higher contrast",
            "{it} needs {how} more contrast",
            "{it} should have {how} more contrast",
            "{how} [stronger|bigger|greater] contrast",
            "{how} more [contrasty|contrasted|punchy|punch]",
            "{it} [has|shows] too little contrast",
            "{it} [is|looks] [flat|too soft|washed out|faded]",
            "[contrast|the contrast] [up|higher] {much}",
            "{how} [darker shadows|darker darks] and [brighter highlights|lighter lights]",
            *too("flat|hazy|soft in tone|low in contrast"),
        ),
        vague=vague.LIGHT,
        expressive=(
            "{Names} would stand out with {amount} more contrast, shadows darker and lights brighter.",
            "The darks of {names} would go darker and the lights brighter, with {amount} more contrast.",
            "With {amount} more contrast, {names} would have deep shadows and bright highlights.",
        ),
    ),
)

CONTRAST_DOWN = WholePicture(
    name="contrast_down",
    choices={"strength": STRENGTHS},
    apply=_flatten,
    shows=_has_less_contrast,
    wordings=Wordings(
        commands=(
            "[decrease|reduce|lower|turn down|bring down|cut|weaken|soften] the contrast {much}",
            "[decrease|reduce|lower|soften] the contrast of {it} {much}",
            "[use|give {it}] {how} less contrast",
            "[remove|take out] [some|some of the] contrast",
            "make {it} {how} flatter",
            "[flatten|fade] the [tones|contrast] {much}",
            "make {it} {how} lower in contrast",
            "make the [blacks|shadows] lighter and the [whites|highlights] darker {much}",
            "[lift the shadows|brighten the shadows] and [dim|darken] the highlights {much}",
            "give {it} a {size} flat matte look",
            "make the contrast {how} [lower|weaker|smaller]",
            "[make|get] {it} {how} [flatter|softer in contrast|more matte]",
            "[drop|decrease|diminish|dial down|tone down] the contrast {much}",
            "make the [dark|black] parts lighter and the [light|bright|white] parts darker {much}",
            "[make|turn] the [darks|dark tones] lighter and the [lights|light tones|brights] darker {much}",
            "[narrow|compress|squeeze] the [tonal range|range of tones] {much}",
            "[push|move|bring] [light and dark|shadows and highlights] closer together {much}",
            "[bring|turn|take|pull] [the contrast|contrast] down {much}",
            "make the highlights darker and the shadows lighter {much}",
            "make {it} [matte|flat|low contrast]",
            *less("contrasty|harsh|hard|punchy|high in contrast"),
        ),
        phrases=(
            "the contrast [should|must] be {how} [lower|weaker]",
            "{how} less contrast",
            "{how} lower contrast",
            "{it} has too much contrast",
            "{it} should have {how} less contrast",
            "{how} [weaker|softer|smaller] contrast",
            "[contrast|the contrast] [down|lower] {much}",
            "{how} [lighter shadows|lighter darks] and [darker highlights|darker lights]",
            "[matte|flat|low contrast] [look|please|version|style]",
            "the contrast is too [high|strong]",
            *too("contrasty|harsh|hard|punchy|high in contrast"),
        ),
        vague=vague.LIGHT,
        expressive=(
            "{Names} would look {amount} flatter, with lifted shadows and dimmed highlights.",
            "With {amount} less contrast, {names} would look soft, matte and even in tone.",
            "Dark and light in {names} would move closer together, with {amount} less contrast.",
        ),
    ),
)

TONE = (BRIGHTER, DARKER, CONTRAST_UP, CONTRAST_DOWN)
