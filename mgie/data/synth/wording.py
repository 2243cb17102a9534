"""How people ask for an edit, and what the edited picture will look like: a small grammar over templates.

A *pattern* such as ``"[make|turn] {it} {how} darker"`` stands for several *templates* (one per choice in
square brackets); a template's slots in braces are filled anew for every instruction. Templates, not filled
sentences, are divided into train and test, so that a test wording differs from every trained one in more than
its colour or its "please".
"""

import functools
import hashlib
import itertools
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np

Params = dict[str, str]
"""Parameters of one edit: name of the parameter to the name of its value; JSON as it stands."""

Split = Literal["train", "test"]

Words = Mapping[str, Mapping[str, tuple[str, ...]]]
"""What may fill a slot: slot name to value of its parameter to the alternatives."""

STRENGTH_WORDS: Words = {
    "how": {
        "slight": ("slightly", "a bit", "a little", "a little bit", "a touch", "just a bit", "somewhat"),
        "normal": ("",),
        "strong": ("much", "a lot", "far", "way", "a great deal", "very much"),
    },
    "much": {
        "slight": ("slightly", "a bit", "a little", "a little bit", "a touch", "somewhat"),
        "normal": ("",),
        "strong": ("a lot", "strongly", "heavily", "dramatically", "very much", "considerably"),
    },
    "very": {
        "slight": ("slightly", "a bit", "a little", "somewhat"),
        "normal": ("",),
        "strong": ("very", "really", "extremely", "super"),
    },
    "size": {
        "slight": ("slight", "subtle", "faint", "gentle", "light"),
        "normal": ("",),
        "strong": ("strong", "heavy", "intense", "very strong", "dramatic"),
    },
    "amount": {"slight": ("slightly",), "normal": ("clearly",), "strong": ("far",)},
    "degree": {"slight": ("slightly",), "normal": ("clearly",), "strong": ("strongly",)},
    "shade": {"slight": ("faint",), "normal": ("clear",), "strong": ("deep",)},
}
"""Slots that speak of the parameter `strength`: four for instructions, three for expressive instructions."""

_CORNER_WORDS = (
    "at the {0} {2}",
    "in the {0} {2}",
    "in the {0} {2} corner",
    "in the {1} {2} corner",
    "on the {1} {2}",
)
PLACE_WORDS = {
    "at the top": ("at the top", "at the top", "up at the top", "at the top centre", "at the upper edge"),
    "on the left": ("on the left", "on the left", "on the left side", "at the left", "to the left"),
    "in the middle": ("in the middle", "in the middle", "in the centre", "in the center"),
    "on the right": ("on the right", "on the right", "on the right side", "at the right", "to the right"),
    "at the bottom": ("at the bottom", "at the bottom", "at the bottom centre", "at the lower edge"),
} | {
    f"at the {row[0]} {side}": tuple(words.format(*row, side) for words in _CORNER_WORDS)
    for row in (("top", "upper"), ("bottom", "lower"))
    for side in ("left", "right")
}
"""What people say of the places of a picture, by the names that the families have for them."""

_PARAMETERS = {"objects": "object", "resize": "change", "huge": "change", "grown": "change", "there": "to"}
"""Slots of other names than their parameters."""

_T = TypeVar("_T")
_IT = (
    ("it",) * 9
    + ("this",) * 3
    + ("the picture", "the photo", "the image", "this picture", "this photo", "this image")
)
_IT += ("the whole picture", "the whole image", "my photo", "the entire photo")
_BEFORE = (
    "please",
    "can you",
    "could you",
    "could you please",
    "can you please",
    "i want you to",
    "i'd like you to",
    "pls",
)
_TYPO_MIN_LETTERS = 5
_ONSETS = (*"bcdfghjklmnprstvwz", "bl", "br", "ch", "cr", "dr", "fl", "gr", "pl", "sh", "st", "th", "tr")
_NUCLEI = (*"aeiou", "ai", "ea", "ee", "oo", "ou")
_CODAS = ("", "", *"lmnprstk", "ck", "ng", "rd", "st")


def stable_split(text: str) -> Split:
    """Returns "test" for one text in eight: where the first hexadecimal digit of its MD5 is 0 or 1."""
    return "test" if hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[0] in "01" else "train"


def expand(pattern: str) -> list[str]:
    """Returns the templates of a pattern: every choice of one alternative in each square bracket."""
    parts = [part.split("|") for part in re.split(r"[\[\]]", pattern)]
    return [" ".join("".join(choice).split()) for choice in itertools.product(*parts)]


def slots(template: str) -> frozenset[str]:
    """Returns the names in braces."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)


def tidy(sentence: str) -> str:
    """Returns the sentence with single spaces, none before a comma, and "a" or "an" as is right."""
    sentence = " ".join(sentence.split()).replace(" ,", ",")
    return re.sub(r"\b([Aa]) (?=[aio]|e(?!we\b)|umb)", r"\1n ", sentence)


def spoken_list(names: Sequence[str]) -> str:
    """Returns "the car", "the car and the road" or "the car, the road and the sky"."""
    with_article = [f"the {name}" for name in names]
    return " and ".join(filter(None, [", ".join(with_article[:-1]), with_article[-1]]))


def parameter_of(slot: str) -> str:
    """Returns the parameter that a slot speaks of: "how" speaks of the strength, "colour" of the colour."""
    return "strength" if slot in STRENGTH_WORDS else _PARAMETERS.get(slot, slot)


def less(adjectives: str) -> tuple[str, ...]:
    """Returns patterns of commands that ask for less of what the adjectives say, "pale|dull" for instance.

    A small model takes "less pale" for paler, unless it has heard "less" of every word that it knows.
    """
    return (
        f"make {{it}} [|look ]{{how}} less [{adjectives}]",
        f"make {{it}} not [so|as|that] [{adjectives}]",
    )


def too(adjectives: str) -> tuple[str, ...]:
    """Returns phrases that ask for less of what the adjectives say; see `less`."""
    return (
        f"{{how}} less [{adjectives}]",
        f"not [so|as|that] [{adjectives}]",
        f"{{it}} [is|looks|seems] too [{adjectives}]",
        f"too [{adjectives}]",
    )


@functools.cache
def templates(
    commands: tuple[str, ...], phrases: tuple[str, ...], salt: str, split: Split, needed: frozenset[str]
) -> tuple[tuple[bool, tuple[str, ...]], ...]:
    """Returns (starts with a verb, its templates) for each pattern that has templates in the split.

    Args:
        commands: patterns that start with a verb.
        phrases: patterns that stand alone.
        salt: the family's name, so that equal templates of two families fall independently.
        split: "train" or "test".
        needed: parameters that the template must have a slot for.
    """
    found = []
    for is_command, pattern in [(True, p) for p in commands] + [(False, p) for p in phrases]:
        fitting = tuple(
            template
            for template in expand(pattern)
            if needed <= {parameter_of(slot) for slot in slots(template)}
            and stable_split(f"{salt}: {template}") == split
        )
        if fitting:
            found.append((is_command, fitting))
    return tuple(found)


def invented_name(rng: np.random.Generator) -> str:
    """Returns a name that no language has, of one or two words: "belto", "ruvas kim"."""
    return " ".join(
        "".join(pick(rng, _ONSETS) + pick(rng, _NUCLEI) for _ in range(rng.integers(1, 4)))
        + pick(rng, _CODAS)
        for _ in range(1 + (rng.random() < 0.3))
    )


@dataclass(frozen=True, kw_only=True)
class Wordings:
    """The wordings of one family.

    A parameter whose value is not in `unworded` must be spoken of: its templates have a slot for it.
    """

    commands: tuple[str, ...] = ()
    """Patterns that start with a verb and may follow "please" or "can you"."""
    phrases: tuple[str, ...] = ()
    """Patterns that stand alone: "more contrast", "it should look older"."""
    expressive: tuple[str, ...]
    """Templates of the expressive instruction, with {names} or {Names} for what is to be seen."""
    vague: tuple[str, ...] = ()
    """Patterns that start with a verb and leave the edit open: "do something with the colours"."""
    words: Words = field(default_factory=dict)
    """Alternatives for slots that no other family has, or has otherwise."""
    unworded: Mapping[str, str] = field(default_factory=lambda: {"strength": "normal"})
    """Values that an instruction need not mention."""
    silent: frozenset[str] = frozenset()
    """Parameters that an instruction need not mention: the picture shows them."""

    @property
    def always_vague(self) -> bool:
        """Whether no instruction says which edit is meant."""
        return not self.commands and not self.phrases

    def fill(self, template: str, params: Params, rng: np.random.Generator, **given: str) -> str:
        """Returns the template with every slot filled, from `given` or with words for the parameters."""
        values = dict(given)
        for slot in sorted(slots(template) - given.keys()):  # a set has another order in each process
            if slot == "it":
                values[slot] = pick(rng, _IT)
                continue
            value = params[parameter_of(slot)]
            words = self.words.get(slot) or STRENGTH_WORDS.get(slot) or {}
            values[slot] = pick(rng, words.get(value, (value,)))
        return tidy(template.format_map(values))

    def instruction(self, salt: str, params: Params, rng: np.random.Generator, split: Split) -> str:
        """Returns an instruction as somebody might type it, perhaps politely, perhaps with a mistake."""
        needed = frozenset(name for name, value in params.items() if self.unworded.get(name) != value)
        needed -= self.silent
        is_command, fitting = pick(rng, templates(self.commands, self.phrases, salt, split, needed))
        sentence = self.fill(pick(rng, fitting), params, rng)
        return casual(sentence, is_command, rng)

    def vague_instruction(self, rng: np.random.Generator, split: Split) -> str:
        """Returns an instruction that leaves open which edit is meant.

        Families share such patterns, and the same ones are held out in all of them.
        """
        is_command, fitting = pick(rng, templates(self.vague, (), "vague", split, frozenset()))
        return casual(self.fill(pick(rng, fitting), {}, rng), is_command, rng)

    def describe(self, names: Sequence[str], params: Params, rng: np.random.Generator) -> str:
        """Returns the expressive instruction for a picture in which the named things are to be seen."""
        if names:
            spoken = spoken_list(names[: 2 if rng.random() < 0.75 else 1])
        else:
            spoken = pick(rng, ("the scene", "the whole scene"))
        capitalised = spoken[0].upper() + spoken[1:]
        return self.fill(pick(rng, self.expressive), params, rng, **params, names=spoken, Names=capitalised)


def pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    """Returns one of the options, faster than numpy's `choice`, which makes an array of them first."""
    return options[int(rng.random() * len(options))]


def casual(sentence: str, is_command: bool, rng: np.random.Generator) -> str:
    """Returns the sentence with a random share of politeness, capitals, a full stop and a typing mistake."""
    end = "." if rng.random() < 0.15 else ""
    if is_command and rng.random() < 0.2:
        before = pick(rng, _BEFORE)
        sentence = f"{before} {sentence}"
        end = "?" if before.startswith(("can", "could")) and rng.random() < 0.6 else end
    elif is_command and rng.random() < 0.08:
        sentence = f"{sentence}{pick(rng, (' please', ', please', ' pls', ', thanks'))}"
    if rng.random() < 0.05:
        sentence = mistyped(sentence, rng)
    if rng.random() < 0.4:
        sentence = sentence[0].upper() + sentence[1:]
    return sentence + end


def mistyped(sentence: str, rng: np.random.Generator) -> str:
    """Returns the sentence with two letters exchanged, or one left out or doubled, in one longer word."""
    words = sentence.split(" ")
    long = [index for index, word in enumerate(words) if len(word) >= _TYPO_MIN_LETTERS and word.isalpha()]
    if not long:
        return sentence
    index = pick(rng, long)
    word = words[index]
    at = int(rng.integers(1, len(word) - 2))
    a, b = word[at], word[at + 1]
    words[index] = word[:at] + pick(rng, (b + a, b, a + a + b)) + word[at + 2 :]
    return " ".join(words)
