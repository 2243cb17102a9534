"""Picks those of real people's edit requests that ask for exactly one family of made edits, by strict rules.

Precision counts, not recall: a request is kept only if one rule matches the *whole* of it once politeness,
strength and talk of "the picture" are taken out, so that a second wish or a region ("the sky") leaves a rest
that no rule covers.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mgie.data.records import read_json_lines
from mgie.data.synth.wording import stable_split

SOURCES = ("gier.jsonl", "fivek_requests.jsonl", "image_editing_request.jsonl")
MAX_WORDS = 14

_COLOURS = "red|orange|yellow|gold|green|lime|turquoise|teal|cyan|blue|purple|magenta|pink|brown"
_FRAME_COLOURS = "white|black|red|yellow|gold|green|blue|purple|pink|orange|brown"

_POLITE = re.compile(
    r"^((hi|hello|hey)\b|please|kindly|pls|just|try to|go ahead and|we need to|need to|let's|and|then|"
    r"can (you|anyone|someone|any one|u)|could (you|anyone|someone)|would you|you (should|need to|can|could)|"
    r"(i|we) (want|need|would like|'d like|wish)( you)?( to)?|i'd like( you)? to)\b[ ,]*|"
    r"[ ,]*\b(please|pls|thanks|thank you|thanks in advance|for me)$"
)
_PICTURE = re.compile(
    r"\b((the|this|my|that|an?)? ?(whole|entire|overall|full|complete|general)? ?"
    r"(picture|photo|photograph|image|pic|shot|imagine|scene)('s)?|everything|overall)\b"
)
_STRENGTHS = {
    "slight": r"slightly|slight|a (tiny |little )?bit( of)?|a little|a touch|a tad|somewhat|a small amount|"
    r"subtly|lightly|just",
    "strong": r"a lot|much|a great deal|very|dramatically|drastically|significantly|greatly|heavily|way|"
    r"strongly|a ton|considerably|extremely|substantially|by a lot|quite a bit|alot|really|significant",
}
_ANY_STRENGTH = re.compile(rf"\b(by )?({'|'.join(_STRENGTHS.values())})\b")

_UP = (
    r"(increase|raise|boost|add|improve|enhance|more|higher|bring up|turn up|up|bump up|increased|increasing|"
    r"give|brighten)( the| in| of| some| up)*"
)
_DOWN = (
    r"(decrease|reduce|lower|less|bring down|turn down|lessen|decreased|reducing|decreasing|lowering|"
    r"tone down)( the| in| of| some)*"
)
_MAKE = (
    r"(make|made|making|turn|get|have|needs?|should|must|change|convert|set)?( it)?( to)?( be)?"
    r"( look| appear| seem)?"
)
_TURN = rf"({_MAKE}|turn( it)?|change( it)?|convert( it)?)"
_OF = r"( (of|in|on|to|for|level|levels)( it)?)*"
_LIGHT = r"(brightness|light|lighting|exposure|lightness|luminance|luminosity)"
_SATURATION = r"(colou?rs? )?(saturation|vibrance|vibrancy|saturations)"
_COLOUR = r"( the)?( colou?rs?)?"
_TONES = r"( the)?( colou?rs?| tones?| temperature)?"
_TEMPERATURE = r"(warmth|warmness|(colou?r )?temperature)"

_RULES: dict[str, tuple[str, ...]] = {
    "brighter": (
        rf"{_MAKE} (brighter|lighter|more bright|light|bright)",
        r"(brighten|lighten|lighting|brightening)( it)?( up)?( it)?",
        rf"{_UP} {_LIGHT}{_OF}",
        r"(it )?(is )?too dark",
    ),
    "darker": (
        rf"{_MAKE} (darker|less bright|dimmer|more dark|dark)",
        r"(darken|dim|darkening)( it)?( down)?",
        rf"{_DOWN} {_LIGHT}{_OF}",
        r"(it )?(is )?too bright",
    ),
    "contrast_up": (rf"{_UP} contrast{_OF}", rf"{_MAKE} more contrast(ed|y)?"),
    "contrast_down": (rf"{_DOWN} contrast{_OF}", rf"{_MAKE} less contrast(ed|y)?"),
    "saturate": (
        rf"{_UP} {_SATURATION}{_OF}",
        rf"saturate( it)?{_COLOUR}",
        rf"{_MAKE}{_COLOUR} ((more )?(colou?rful|vivid|vibrant|saturated)|more colou?r)",
    ),
    "desaturate": (
        rf"{_DOWN} {_SATURATION}{_OF}",
        rf"desaturate( it)?{_COLOUR}",
        rf"{_MAKE}{_COLOUR} less (colou?rful|vivid|vibrant|saturated|colou?r)",
    ),
    "grey": (
        rf"{_TURN} ?(to|into|in)?( a)? ?"
        r"(black (and|&|n) white|b ?& ?w|b/w|gr[ea]y ?scale|monochrome|gr[ea]y)",
        r"(remove|take out|take away)( all)?( of)?( the)? colou?rs?( from)?( it)?",
    ),
    "sepia": (
        rf"({_MAKE}|add|apply|use|give)( it)?( a)? ?(to|into|in|like)?( an?)? ?"
        r"(sepia|vintage|antique|old|older|old fashioned|retro|aged)( tone| filter| effect| look| style)?",
    ),
    "warmer": (
        rf"{_MAKE}{_TONES} (warmer|more warm)",
        rf"warm( it)?( up)?{_COLOUR}",
        rf"{_UP} {_TEMPERATURE}{_OF}",
        r"add( a)? (warm|warmer) (tones?|filter|colou?rs?)",
    ),
    "cooler": (
        rf"{_MAKE}{_TONES} (cooler|colder)",
        rf"cool( it)?( down)?{_COLOUR}",
        rf"{_DOWN} {_TEMPERATURE}{_OF}",
        r"add( a)? (cool|cooler) (tones?|filter|colou?rs?)",
    ),
    "night": (
        rf"{_MAKE}( like)?( it)?( is| was)?( taken)?( at)? (night|night ?time|nighttime)",
        r"(turn|change)( it)?( day)? (in)?to night",
    ),
    "sunset": (rf"{_MAKE}( like)?( it)?( is| was)?( taken)?( at)?( a)? (sunset|dusk)",),
    "fog": (r"add( some)? (fog|mist|haze)( to it)?", rf"{_MAKE} (foggy|misty|hazy)"),
    "invert": (r"invert( it)?( the)?( colou?rs?)?", r"negative", r"make( it)?( a)? negative"),
    "blur": (
        r"blur( it)?( out)?",
        rf"{_MAKE} (blurry|blurrier|blurred|softer|more blurry)",
        r"add( a)? blur",
    ),
    "vignette": (
        r"(add( a| some)? )?(dark )?vignett(e|ing)( effect)?( to it)?",
        rf"{_MAKE} darker (edges|corners)",
        r"darken( the)? (edges|corners)",
    ),
    "poster": (r"posteri[sz]e( it)?",),
    "pixelate": (r"pixelate( it)?", r"make( it)? pixelated"),
    "sketch": (rf"{_TURN} ?(to|into|in|like)?( a| an)? ?(pencil )?(sketch|drawing|line drawing)( effect)?",),
    "border": (
        r"(add|put|make|create|insert|give)( it)?( a)? ?(thin|thick|wide|small)? ?"
        rf"(?P<border>{_FRAME_COLOURS})? ?(picture )?(border|frame)( around)?( to)?( it)?",
    ),
    "tint": (
        rf"(make|turn|change|colou?r|tint)( it)?( to)?( look)?( more)? (?P<tint>{_COLOURS})(er|ish)?"
        r"( tint| tone| hue)?",
        rf"(add|give|apply|put)( it)?( a| some| more)? (?P<tint2>{_COLOURS})(ish)?( colou?r)?"
        r"( tint| tone| tones| hue| filter| cast)?( to it)?",
    ),
}
_PATTERNS = {family: re.compile("|".join(rules)) for family, rules in _RULES.items()}
_WITHOUT_STRENGTH = {"grey", "sepia", "night", "sunset", "invert", "poster", "sketch"}


def normal_form(request: str) -> str:
    """Returns the request without case, punctuation, politeness and talk of the picture as a whole."""
    text = re.sub(r"\[[^\]]*\]|[!.?\"]|(?<=\s)'|'(?=\s)", " ", request.lower())
    text = " ".join(text.split()).strip(" ,;:-")
    previous = ""
    while previous != text:
        previous, text = text, _POLITE.sub("", text).strip(" ,;:-")
    text = _PICTURE.sub(" it ", text)
    text = re.sub(r"\bit( it)+\b", "it", " ".join(text.split()))
    return re.sub(
        r"^it (is |should be |needs to be |needs? )|\b(of|in|to|on|for|the|from) it$", "", text
    ).strip()


def classify(request: str) -> tuple[str, dict[str, str]] | None:
    """Returns the one family that a request asks for, and its parameters, or None where it is not certain."""
    if len(request.split()) > MAX_WORDS:
        return None
    text = normal_form(request)
    found = [name for name, rule in _STRENGTHS.items() if re.search(rf"\b({rule})\b", text)]
    if len(found) > 1:
        return None
    bare = " ".join(_ANY_STRENGTH.sub(" ", text).split())
    matches = {family: match for family, rule in _PATTERNS.items() if (match := rule.fullmatch(bare))}
    if len(matches) != 1:
        return None
    family, match = matches.popitem()
    params = {} if family in _WITHOUT_STRENGTH else {"strength": found[0] if found else "normal"}
    if family == "tint":
        params = {"colour": match["tint"] or match["tint2"], **params}
    elif family == "border":
        width = (
            "strong"
            if re.search("thick|wide", bare)
            else "slight"
            if re.search("thin|small", bare)
            else "normal"
        )
        params = {"colour": match["border"] or "white", "strength": width}
    elif family == "pixelate" and params["strength"] == "slight":
        return None
    return family, params


def classified_requests(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields {family, params, instruction, split} for each request that is certain, every wording once."""
    seen = set()
    for source in SOURCES:
        for _, row in read_json_lines(folder / source):
            texts = [row["instruction"], *row.get("expert_summary", []), *row.get("amateur_summary", [])]
            for text in texts:
                wording = " ".join(re.sub(r"\[[^\]]*\]", " ", text).split())
                key = wording.lower().strip(" .!")
                if key in seen or (answer := classify(wording)) is None:
                    continue
                seen.add(key)
                family, params = answer
                yield {"family": family, "params": params, "instruction": wording, "split": stable_split(key)}
