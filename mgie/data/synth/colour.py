"""Families of colour: tints, saturation, black and white, sepia, colour temperature, negative."""

import numpy as np

from mgie.data.synth import vague
from mgie.data.synth.family import STRENGTHS, Pixels, WholePicture
from mgie.data.synth.measure import Array, chroma_map, correlation, distance, luminance, saturation
from mgie.data.synth.wording import Params, Wordings, less, too

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.10, 0.10),
    "orange": (1.00, 0.50, 0.05),
    "yellow": (1.00, 0.90, 0.10),
    "gold": (0.83, 0.62, 0.13),
    "green": (0.10, 0.70, 0.15),
    "lime": (0.65, 0.95, 0.15),
    "turquoise": (0.15, 0.85, 0.75),
    "teal": (0.05, 0.45, 0.47),
    "cyan": (0.10, 0.85, 1.00),
    "blue": (0.10, 0.20, 0.95),
    "purple": (0.50, 0.12, 0.75),
    "magenta": (0.95, 0.10, 0.75),
    "pink": (1.00, 0.55, 0.72),
    "brown": (0.48, 0.29, 0.14),
}
"""Tints by name, RGB in [0, 1]."""

_SYNONYMS = {
    "red": ("red",) * 5 + ("crimson", "scarlet"),
    "green": ("green",) * 5 + ("emerald green",),
    "blue": ("blue",) * 5 + ("deep blue",),
    "purple": ("purple",) * 3 + ("violet",),
    "lime": ("lime", "lime green"),
    "magenta": ("magenta", "magenta", "fuchsia"),
    "pink": ("pink",) * 5 + ("rose pink",),
    "yellow": ("yellow",) * 5 + ("bright yellow",),
}
_TINT = {"slight": 0.4, "normal": 0.7, "strong": 0.95}
_MORE = {"slight": 1.5, "normal": 2.1, "strong": 3.0}
_LESS = {"slight": 0.62, "normal": 0.4, "strong": 0.2}
_WARM = {"slight": 0.4, "normal": 0.75, "strong": 1.2}
_WARM_GAINS = np.array([0.24, 0.04, -0.36], np.float32)
_COOL_GAINS = np.array([-0.32, -0.06, 0.22], np.float32)
_SEPIA = np.array([0.60, 0.45, 0.29], np.float32)


def duotone(pixels: Pixels, colour: Array, paleness: float = 0.45) -> Pixels:
    """Returns the picture in shades of one colour: black, through the colour, to a pale tone of it.

    Args:
        pixels: (H, W, 3) in [0, 1].
        colour: (3,) RGB in [0, 1].
        paleness: how near to white the lightest tone is, 0 = the colour itself, 1 = white.
    """
    light = luminance(pixels)[..., None]
    pivot = np.clip(colour @ np.array([0.2126, 0.7152, 0.0722], np.float32), 0.45, 0.85)
    paper = colour + (1 - colour) * paleness
    return np.where(
        light < pivot, colour * (light / pivot), colour + (paper - colour) * ((light - pivot) / (1 - pivot))
    )


def _mix(a: Pixels, b: Pixels, share: float) -> Pixels:
    return a + (b - a) * share


def _near_in_chroma(source: Pixels, edited: Pixels, target: Pixels) -> bool:
    # Place by place: the mean colour of a red thing hardly changes when all the picture becomes red.
    wanted = chroma_map(target)
    before = distance(chroma_map(source), wanted)
    return before > 0.02 and distance(chroma_map(edited), wanted) <= 0.5 * before


def _tint(pixels: Pixels, params: Params) -> Pixels:
    colour = np.array(COLOURS[params["colour"]], np.float32)
    return _mix(pixels, duotone(pixels, colour), _TINT[params["strength"]])


def _is_tinted(source: Pixels, edited: Pixels, params: Params) -> bool:
    return _near_in_chroma(source, edited, _tint(source, params))


def _saturate_by(pixels: Pixels, factor: float) -> Pixels:
    light = luminance(pixels)[..., None]
    return np.clip(light + (pixels - light) * factor, 0, 1)


def _saturate(pixels: Pixels, params: Params) -> Pixels:
    return _saturate_by(pixels, _MORE[params["strength"]])


def _is_more_saturated(source: Pixels, edited: Pixels, params: Params) -> bool:
    gain = saturation(edited) - saturation(source)
    return gain >= 0.02 and gain >= 0.15 * saturation(source)


def _desaturate(pixels: Pixels, params: Params) -> Pixels:
    return _saturate_by(pixels, _LESS[params["strength"]])


def _is_less_saturated(source: Pixels, edited: Pixels, params: Params) -> bool:
    # Losing all colour is another edit, hence the lower bound.
    kept = _colour_kept(source, edited)
    return saturation(source) > 0.05 and 0.3 * _LESS[params["strength"]] <= min(kept) and max(kept) <= 0.8


def _colour_kept(source: Pixels, edited: Pixels) -> tuple[float, float]:
    """Returns the share of saturation that is left, as it is and in relation to the light.

    A darker picture has less saturation too, but not in relation to its light.
    """
    kept = saturation(edited) / (saturation(source) + 1e-6)
    return kept, kept * float(source.mean() / (edited.mean() + 1e-6))


def _grey(pixels: Pixels, params: Params) -> Pixels:
    return np.repeat(luminance(pixels)[..., None], 3, axis=2)


def _is_grey(source: Pixels, edited: Pixels, params: Params) -> bool:
    return saturation(source) > 0.05 and max(_colour_kept(source, edited)) < 0.4


def _sepia(pixels: Pixels, params: Params) -> Pixels:
    # Old paper: nothing is quite black or white.
    return 0.06 + 0.9 * duotone(pixels, _SEPIA, paleness=0.85)


def _is_sepia(source: Pixels, edited: Pixels, params: Params) -> bool:
    return _near_in_chroma(source, edited, _sepia(source, params))


def _gain(pixels: Pixels, gains: Array) -> Pixels:
    return np.clip(pixels * (1 + gains), 0, 1)


def _warmth(pixels: Pixels) -> float:
    return float((pixels[..., 0] - pixels[..., 2]).mean())


def _warm(pixels: Pixels, params: Params) -> Pixels:
    return _gain(pixels, _WARM_GAINS * _WARM[params["strength"]])


def _is_warmer(source: Pixels, edited: Pixels, params: Params) -> bool:
    wanted = _warmth(_warm(source, params)) - _warmth(source)
    return _warmth(edited) - _warmth(source) >= max(0.02, 0.5 * wanted)


def _cool(pixels: Pixels, params: Params) -> Pixels:
    return _gain(pixels, _COOL_GAINS * _WARM[params["strength"]])


def _is_cooler(source: Pixels, edited: Pixels, params: Params) -> bool:
    wanted = _warmth(source) - _warmth(_cool(source, params))
    return _warmth(source) - _warmth(edited) >= max(0.02, 0.5 * wanted)


def _invert(pixels: Pixels, params: Params) -> Pixels:
    return 1 - pixels


def _is_inverted(source: Pixels, edited: Pixels, params: Params) -> bool:
    return correlation(luminance(source), luminance(edited)) < -0.3


TINT = WholePicture(
    name="tint",
    choices={"colour": tuple(COLOURS), "strength": STRENGTHS},
    apply=_tint,
    shows=_is_tinted,
    weight=4,
    wordings=Wordings(
        words={"colour": {name: _SYNONYMS.get(name, (name,)) for name in COLOURS}},
        commands=(
            "make {it} {very} {colour}",
            "make {it} [look|appear|all|completely] {very} {colour}",
            "[turn|paint|colour|color|dye|tint] {it} {very} {colour}",
            "[turn|colour|color] everything {very} {colour}",
            "[give|add to] {it} a {size} {colour} [tint|cast|tone|hue|colour|glow|wash]",
            "add a {size} {colour} [tint|cast|filter|hue|glow|overlay|wash]",
            "[put|use|apply] a {size} {colour} [filter|overlay|colour filter] [|on {it}|over {it}]",
            "[change|set|shift] the [colour|color|colours|colors|hue] to {colour}",
            "[change|turn] {it} to {colour}",
            "[bathe|drench|cover|wash] {it} in {colour} [|light]",
            "light {it} with {colour} light",
            "shine a {size} {colour} light on {it}",
            "show {it} through {colour} glass",
            "make [the whole thing|all of it|everything] {colour}",
            "[tint|colour|color] {it} {colour} {much}",
            "[add|give {it}] {how} more {colour}",
            "make {it} a {colour} [picture|photo|image]",
            "[make|turn] the [colours|colors|tones] {very} {colour}",
            "[cover|coat|overlay|fill] {it} [in|with] {colour}",
            "put {colour} light on {it}",
            "give {it} a {size} {colour} [look|colour cast|shade]",
            "[throw|cast|splash] {colour} [light|colour] over {it}",
            "make it look like {colour} glass",
        ),
        phrases=(
            "{very} {colour}",
            "{colour} [filter|tint|version|tone|light]",
            "in {colour} [|please|light]",
            "{it} should be {very} {colour}",
            "everything in {colour}",
            "i [want|would like|need] {it} {very} {colour}",
            "a {size} {colour} [tint|cast|filter|glow]",
            "all {colour}",
            "{colour} [colours|mood|look|glow|please]",
            "{very} {colour} [picture|photo|image|please]",
        ),
        vague=vague.COLOURS,
        expressive=(
            "{Names} would turn a {shade} {colour}, as if seen through {colour} glass.",
            "A {shade} {colour} would cover everything, tinting {names} {colour} in light and shadow.",
            "{Names} would be bathed in {colour} light that turns every colour to a {shade} {colour}.",
            "The picture would take on a {shade} {colour} tint, with {names} in shades of {colour}.",
        ),
    ),
)

SATURATE = WholePicture(
    name="saturate",
    choices={"strength": STRENGTHS},
    apply=_saturate,
    shows=_is_more_saturated,
    wordings=Wordings(
        commands=(
            "[increase|raise|boost|up] the [saturation|vibrance|vibrancy|colour saturation] {much}",
            "[turn up|bump up|enhance] the [saturation|vibrance|vibrancy|colour saturation] {much}",
            "make {it} {how} more [colourful|colorful|vivid|vibrant|saturated]",
            "make the [colours|colors] {how} more [vivid|vibrant|intense|saturated]",
            "make the [colours|colors] [{how} stronger|{how} richer|pop {much}]",
            "[boost|enhance|intensify|strengthen|bring out] the [colours|colors] {much}",
            "[add|give {it}] {how} more [colour|color|saturation|vibrance]",
            "saturate {it} {much}",
            "saturate the [colours|colors] {much}",
            "[bring|put] {how} more [colour|life] into {it}",
            "liven up the [colours|colors] {much}",
            "make {it} [look|feel] {how} more [colourful|lively]",
            "make {it} [look|feel|appear] {how} more [vivid|vibrant|saturated|intense]",
            "make the [colours|colors] {how} [deeper|bolder|brighter and richer|more colourful|livelier]",
            "[increase|raise|improve] the [colour|color|colours|colors] {much}",
            "[increase|turn up] the [colour|color] intensity {much}",
            "[give|make] the [colours|colors] {how} more [pop|punch|power|strength]",
            "[use|add] {how} [richer|stronger|deeper|bolder|more vivid|more saturated] [colours|colors]",
            "[enrich|deepen|amplify] the [colours|colors] {much}",
            "make {it} {how} more lively",
            *less("pale|dull|faded|washed out|muted|colourless"),
        ),
        phrases=(
            "{how} more [colour|color|saturation|vivid|vibrant|saturated]",
            "the [colours|colors] are too [dull|pale|weak]",
            "{how} [stronger|richer] [colours|colors]",
            "{it} needs {how} more [colour|saturation]",
            "{how} [deeper|bolder|livelier|more vivid|more intense] [colours|colors]",
            "the [colours|colors] [are|look] too [faded|muted|flat|washed out|boring]",
            "{it} needs {how} [richer|stronger|bolder] [colours|colors]",
            "the [colours|colors] should be {how} [richer|stronger|more vivid]",
            *too("pale|dull|faded|washed out|muted|colourless"),
        ),
        vague=vague.COLOURS,
        expressive=(
            "The colours of {names} would become {amount} more vivid, as if freshly painted.",
            "{Names} would glow in {amount} stronger colours, and every pale hue would become intense.",
            "The whole picture would be {amount} more colourful, with {names} in saturated, vibrant colours.",
        ),
    ),
)

DESATURATE = WholePicture(
    name="desaturate",
    choices={"strength": STRENGTHS},
    apply=_desaturate,
    shows=_is_less_saturated,
    wordings=Wordings(
        commands=(
            "[decrease|reduce|lower] the [saturation|vibrance|vibrancy|colour saturation] {much}",
            "[turn down|bring down|cut] the [saturation|vibrance|vibrancy|colour saturation] {much}",
            "make the [colours|colors] {how} less [vivid|vibrant|intense|saturated|strong]",
            "make the [colours|colors] {how} more [muted|pale|subdued|dull]",
            "[mute|fade|tone down|soften|weaken] the [colours|colors] {much}",
            "[use|give {it}] {how} less [colour|color|saturation]",
            "[desaturate|mute] {it} {much}",
            "desaturate the [colours|colors] {much}",
            "[take out|remove|drain] some [of the|] [colour|color|saturation]",
            "make {it} {how} more muted",
            "wash out the [colours|colors] {much}",
            "make the [colours|colors] {how} [paler|duller|weaker|softer|quieter|less colourful]",
            "[decrease|reduce|lower] the [colour|color|colours|colors] {much}",
            "[reduce|turn down] the [colour|color] intensity {much}",
            "make {it} {how} [paler|duller]",
            "[use|add] {how} [paler|weaker|duller|less vivid|less saturated] [colours|colors]",
            "[pull back|dull|subdue|calm] the [colours|colors] {much}",
            "[take|drain] some [saturation|colour|color] out of {it}",
            *less("colourful|vivid|vibrant|saturated|garish|gaudy"),
        ),
        phrases=(
            "{how} less [colour|color|saturation|vivid|saturated|colourful]",
            "the [colours|colors] are too [strong|bright|loud|intense]",
            "{how} [paler|duller|softer|more muted] [colours|colors]",
            "{it} is [too colourful|oversaturated|too saturated]",
            "{how} [weaker|quieter|less vivid|less intense] [colours|colors]",
            "the [colours|colors] [are|look] too [vivid|saturated|garish|gaudy|rich]",
            "{it} needs {how} [less colour|paler colours|weaker colours]",
            "the [colours|colors] should be {how} [paler|weaker|less vivid]",
            *too("colourful|vivid|vibrant|saturated|garish|gaudy"),
        ),
        vague=vague.COLOURS,
        expressive=(
            "The colours of {names} would become {amount} paler and more muted, but not quite grey.",
            "{Names} would keep only washed out colours and look {amount} less saturated.",
            "The whole picture would be {amount} less colourful, with {names} in faded, quiet colours.",
        ),
    ),
)

GREY = WholePicture(
    name="grey",
    apply=_grey,
    shows=_is_grey,
    wordings=Wordings(
        commands=(
            "make {it} [|all|completely] [black and white|grey|gray|grayscale]",
            "make {it} [|all|completely] [greyscale|monochrome|colourless|colorless]",
            "[turn|convert|change] {it} [to|into] [black and white|grayscale|greyscale|monochrome|grey|gray]",
            "[turn|paint] {it} [grey|gray|black and white]",
            "[remove|take away|take out] [all|all the|the] [colour|color|colours|colors]",
            "[drop|get rid of] [all|all the|the] [colour|color|colours|colors]",
            "[remove|take] all [colour|color] from {it}",
            "[desaturate|decolour|decolorize] {it} [completely|fully|entirely]",
            "[use|apply|put on|add] a [black and white|grayscale|greyscale|monochrome|b&w] [filter|effect]",
            "make {it} [b&w|b/w|bw]",
            "make {it} a black and white [photo|picture|image]",
            "make {it} look like a [film noir|newspaper photo|black and white movie|black and white film]",
            "[show|give me] {it} [in black and white|without colour|without any color|in shades of grey]",
            "set the saturation to zero",
            "[make|turn] {it} [b&w|b/w|bw|bnw]",
            "[turn|convert|change] {it} [to|into] [b&w|bw|a black and white photo|shades of grey]",
            "[strip|wash|pull|suck] [the colour|all colour|the color|all the colours] out of {it}",
            "[show|make|put|print] {it} in [b&w|bw|monochrome|black and white|greyscale]",
            "[use|apply] a [b/w|bw|grey|gray|noir] [filter|effect|look]",
            "take the saturation to zero",
            "[make|turn] the [colours|colors] [grey|gray]",
            "leave no [colour|color] [in {it}|at all]",
            "[kill|delete|erase] [all|all the|the] [colour|color|colours|colors]",
            "make {it} [colour free|an old black and white film|look like a newspaper]",
        ),
        phrases=(
            "black [and|&] white [|please|version|photo]",
            "[greyscale|grayscale|monochrome] [|version|please]",
            "in [black and white|greyscale|shades of gray]",
            "{it} should be [black and white|without colour|grey]",
            "no [colour|color|colours|colors] [|at all|please]",
            "[b&w|b/w|bw] [please|version|photo|picture|]",
            "[without|minus] [any colour|the colours|color]",
            "[as|like] a [black and white|grey|monochrome|newspaper] [photo|picture|film]",
            "[only|just] [shades of grey|black and white|grey tones]",
        ),
        vague=vague.COLOURS,
        expressive=(
            "{Names} would lose all colour and appear only in shades of grey, as on an old film.",
            "The picture would turn black and white, with {names} in tones of grey.",
            "All colour would vanish from {names}, leaving only black, white and grey.",
            "In a black and white photograph, {names} would have no colour at all.",
        ),
    ),
)

SEPIA = WholePicture(
    name="sepia",
    apply=_sepia,
    shows=_is_sepia,
    wordings=Wordings(
        commands=(
            "make {it} [vintage|sepia|old fashioned|antique|retro]",
            "make {it} look [old|vintage|antique|aged|retro|old fashioned|nostalgic|historic|ancient]",
            "make {it} look like [an old photo|an old photograph|an antique picture]",
            "make {it} look like [a vintage photo|an ancient photograph]",
            "make {it} look like it [was taken|is] [100 years ago|in the 1900s|a century ago]",
            "make {it} look like it [was taken|is] [in 1890|from the 19th century]",
            "make {it} look [100 years old|a hundred years old|like the 1920s]",
            "make {it} look [like the 19th century|victorian]",
            "[turn|convert|change] {it} [to|into] [sepia|a sepia photo|an old photo|a vintage photo]",
            "[use|apply|add|put on] a [sepia|vintage|antique|retro|old photo] [filter|effect|look|tone]",
            "give {it} a [sepia|vintage|antique|retro|aged|nostalgic] [look|tone|feel|effect]",
            "[age|tone] {it} [like an old photo|in sepia|to look vintage]",
            "[colour|tint|tone] {it} [sepia|in sepia]",
            "[send|take] {it} back in time",
            "make {it} [look|seem|feel] like [old times|the old days|the past|great grandmother's photo]",
            "[show|put|print] {it} in [sepia|old style|vintage style|antique style|the old style]",
            "make {it} an [old|antique|aged] [photo|photograph|picture]",
            "[give|add] {it} [brown and cream|old brown|sepia] tones",
            "make {it} [sepia toned|yellowed and old|aged]",
            "turn the colours to sepia",
        ),
        phrases=(
            "[sepia|vintage|antique|old timey] [|look|style|photo|please|version]",
            "in [sepia|old style|vintage style]",
            "[like|as] an [old|antique|ancient] [photo|photograph|picture]",
            "{it} should look [old|vintage|antique|aged]",
            "[old|old fashioned|vintage|retro|aged] [style|look|photo|photograph|picture]",
            "in [an old|the old|antique|retro] style",
            "[sepia|brown and cream] [tones|tone|colours]",
            "from the [1900s|19th century|old days]",
        ),
        vague=vague.COLOURS,
        expressive=(
            "{Names} would appear in faded brown sepia tones, as on a very old photograph.",
            "The picture would become an old sepia photograph, with {names} in brown and cream.",
            "All colours would give way to brown, and {names} would look like a faded antique print.",
        ),
    ),
)

WARMER = WholePicture(
    name="warmer",
    choices={"strength": STRENGTHS},
    apply=_warm,
    shows=_is_warmer,
    wordings=Wordings(
        commands=(
            "make {it} {how} warmer",
            "make {it} [look|feel] {how} [warmer|hotter|cosier|more summery|sunnier]",
            "make the [colours|colors|tones|light|white balance|colour temperature] {how} warmer",
            "[warm|heat] {it} up {much}",
            "[warm|warm up] the [colours|colors|tones|light|picture|photo|image] {much}",
            "[increase|raise|turn up] the [warmth|colour temperature|color temperature|temperature] {much}",
            "[add|give {it}] {how} more warmth",
            "[add|use|give {it}] a {size} warm [tone|filter|look|light|cast|feel]",
            "[add|use] {how} warmer [tones|colours|colors|light]",
            "make {it} [feel|look] like [summer|a hot day|a summer day|a warm day]",
            "shift the white balance to warm",
            "[increase|raise|boost|turn up] the warmth of {it} {much}",
            "[take|remove] [the cold|the blue|the chill] out of {it}",
            "[shift|move|push] the [colours|tones|white balance|temperature] to [warm|warmer] {much}",
            "give {it} {how} [warmer|sunnier|more summery] [colours|tones|light]",
            "make {it} [summery|sunny|cosy|warm|hot]",
            "[look|feel] {how} more summery",
            "make {it} {how} more [summery|sunny|golden|warm]",
            *less("cold|cool|chilly|icy|blue|wintry"),
        ),
        phrases=(
            "{how} warmer [|colours|colors|tones|light|please]",
            "{it} should [be|look|feel] {how} warmer",
            "{how} more warmth",
            "summer [feeling|mood|vibes]",
            "[warm|warmer|summery|sunny] [tones|colours|light|look|mood|please]",
            *too("cold|cool|chilly|icy|blue|wintry"),
        ),
        vague=vague.COLOURS,
        expressive=(
            "{Names} would take on {amount} warmer colours, in golden light as on a summer day.",
            "The picture would feel {amount} warmer, with less blue and a golden light on {names}.",
            "Warm light would fall on {names}, making reds and yellows {amount} stronger and blues weaker.",
        ),
    ),
)

COOLER = WholePicture(
    name="cooler",
    choices={"strength": STRENGTHS},
    apply=_cool,
    shows=_is_cooler,
    wordings=Wordings(
        commands=(
            "make {it} {how} [cooler|colder]",
            "make {it} [look|feel] {how} [cooler|colder|chillier|icier|more wintry]",
            "make the [colours|colors|tones|light|white balance|colour temperature] {how} [cooler|colder]",
            "[cool|chill] {it} down {much}",
            "[cool|cool down] the [colours|colors|tones|light|picture|photo|image] {much}",
            "[decrease|reduce|lower] the [warmth|colour temperature|color temperature|temperature] {much}",
            "[add|use|give {it}] a {size} [cool|cold|icy] [tone|filter|look|light|cast|feel]",
            "[add|use] {how} [cooler|colder] [tones|colours|colors|light]",
            "make {it} [feel|look] like [winter|a cold day|a winter day|an icy day]",
            "shift the white balance to [cool|cold]",
            "[decrease|lower|reduce|turn down] the warmth of {it} {much}",
            "[take|remove] [the warmth|the yellow|the orange cast|the heat] out of {it}",
            "[shift|move|push] the [colours|tones|white balance|temperature] to [cold|cool|cooler] {much}",
            "give {it} {how} [cooler|colder|icier|more wintry] [colours|tones|light]",
            "make {it} [wintry|icy|chilly|cold|cool]",
            "make {it} {how} more [wintry|icy|bluish|cold]",
            *less("warm|hot|yellow|orange|golden|summery"),
        ),
        phrases=(
            "{how} [cooler|colder] [|colours|colors|tones|light|please]",
            "{it} should [be|look|feel] {how} [cooler|colder]",
            "{how} less warmth",
            "winter [feeling|mood|vibes]",
            "[cold|cool|cooler|icy|wintry] [tones|colours|light|look|mood|please]",
            *too("warm|hot|yellow|orange|golden|summery"),
        ),
        vague=vague.COLOURS,
        expressive=(
            "{Names} would take on {amount} cooler colours, in bluish light as on a winter day.",
            "The picture would feel {amount} colder, with less yellow and icy blue light on {names}.",
            "Cold light would fall on {names}, making blues {amount} stronger and reds and yellows weaker.",
        ),
    ),
)

INVERT = WholePicture(
    name="invert",
    apply=_invert,
    shows=_is_inverted,
    wordings=Wordings(
        commands=(
            "[invert|reverse|negate|flip|swap] [the colours|the colors|all colours|all the colors]",
            "[invert|negate] {it}",
            "[invert|reverse] the [colours|colors|tones] of {it}",
            "make {it} [a|look like a] [negative|photo negative|film negative]",
            "make {it} [a|look like a] [colour negative|photographic negative]",
            "[turn|convert|change] {it} [to|into] a [negative|film negative|photo negative]",
            "[use|apply|add] [a negative|an inverted|an invert|a colour inversion] [filter|effect]",
            "[make|turn] {it} [inverted|negative]",
            "make [light dark and dark light|black white and white black]",
            "make the dark parts light and the light parts dark",
            "[swap|exchange] [black and white|light and dark|dark and light]",
            "[replace|change] every [colour|color] [with|to|by] its opposite",
            "make {it} look like an x-ray",
            "[invert|reverse|negate|swap] [every colour|each colour|the picture's colours|everything]",
            "[do|make] a [colour|color] [inversion|negative] [|of it]",
            "[invert|flip] the [image|picture|photo|tones|pixels]",
            "[turn|make] {it} [into |]an [x-ray|x-ray picture|x-ray image]",
            "[show|print|develop] {it} [as a negative|like a negative|as an x-ray|inverted]",
            "[turn|make] white [into |]black and black [into |]white",
            "[turn|make] [the whites black and the blacks white|dark light and light dark]",
            "[apply|use] an x-ray [effect|look|filter]",
            "reverse [light and dark|black and white|the light and the dark]",
            "make the [bright|light] parts [dark|black] and the [dark|black] parts [light|white]",
            "use the opposite [colours|colors]",
        ),
        phrases=(
            "[negative|inverted] [|version|please|colours|colors|image]",
            "as a [negative|film negative|photo negative]",
            "[opposite|reversed|inverted] [colours|colors]",
            "{it} should be [inverted|a negative]",
            "[x-ray|negative|inverted|inversion] [look|style|effect|photo]",
            "[invert|inverted|negate|negative]",
            "[inverse|swapped|negative] [colours|colors]",
            "[as|like] an [x-ray|inverted image|inverted picture]",
            "[white to black|black to white] and [black to white|white to black]",
        ),
        vague=vague.COLOURS,
        expressive=(
            "{Names} would appear as on a film negative, with light turned dark and dark turned light.",
            "All colours of {names} would be inverted, with dark and light exchanged.",
            "In a photographic negative, {names} would have the opposite colours and brightness.",
        ),
    ),
)

COLOUR = (TINT, SATURATE, DESATURATE, GREY, SEPIA, WARMER, COOLER, INVERT)
