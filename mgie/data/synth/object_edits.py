"""Families of objects on photographs: add, remove, replace, recolour, resize, move, duplicate, count.

An edit is a layout of objects before and one after it, both rendered on the photograph. What stands there
besides, the parameter `other`, makes it matter which object an instruction names.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mgie.data.synth.family import Family, keeps_the_rest
from mgie.data.synth.layout import (
    PLACES,
    SCALES,
    Layout,
    Placed,
    are_apart,
    arrivals,
    box_of,
    changed,
    cover,
    dyed,
    render,
    staying,
)
from mgie.data.synth.measure import chroma, distance
from mgie.data.synth.objects import Objects
from mgie.data.synth.scene import Made, Pixels, Scene
from mgie.data.synth.wording import PLACE_WORDS, Params, Split, Wordings, pick, stable_split
from mgie.errors import DataError

NUM_OTHERS = 20
"""An object must be nearer to the right one than to so many others."""

_COLOURS = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink")
_NUMBERS = {
    "one": ("in the middle",),
    "two": ("on the left", "on the right"),
    "three": ("on the left", "in the middle", "on the right"),
}
_CORNERS = ("at the top left", "at the top right", "at the bottom left", "at the bottom right")
_BIGGER = {"bigger": 1.5, "smaller": 1 / 1.5}
_LEFT_SHARE = 0.5
"""What may be left of the way from the source to the target."""
_TOUCHED_SHARE = 0.3
"""What may change of a thing that stays, in relation to what the edit changes."""
_OTHER_SHARE = 0.5
_MAX_TRIES = 100
_VISIBLE_DYE = 0.2

_DEFAULT_AT = PLACE_WORDS | {"in the middle": ("", "", *PLACE_WORDS["in the middle"])}
_TO = {
    place: tuple(
        f"{to} the {place.split(' the ')[1]}{end}"
        for to, end in (("to", ""), ("to", ""), ("over to", ""), ("to", " of the picture"))
    )
    for place in PLACES
}
_SIZED = {
    "small": ("small", "small", "little", "tiny"),
    "medium-sized": ("", "", "medium sized"),
    "large": ("large", "large", "big", "huge"),
}
_BIGGER_WORDS = {
    "bigger": ("bigger", "larger", "much bigger", "far larger"),
    "smaller": ("smaller", "much smaller", "far smaller"),
}
_GROWN_WORDS = {
    "bigger": ("a lot bigger", "a lot larger", "a bit bigger", "quite a bit larger"),
    "smaller": ("a lot smaller", "a bit smaller", "quite a bit smaller"),
}
_RESIZE_WORDS = {
    "bigger": ("enlarge", "enlarge", "magnify", "scale up", "blow up", "grow"),
    "smaller": ("shrink", "shrink", "scale down", "minimise", "minimize"),
}
_HUGE_WORDS = {
    "bigger": ("big", "huge", "giant", "enormous", "large"),
    "smaller": ("small", "tiny", "little", "mini"),
}
_PLURALS = {
    "mouse": "mice",
    "goose": "geese",
    "leaf": "leaves",
    "knife": "knives",
    "wolf": "wolves",
    "scarf": "scarves",
    "tomato": "tomatoes",
    "potato": "potatoes",
    "mango": "mangoes",
    "die": "dice",
} | {name: name for name in ("fish", "deer", "moose", "bison", "squid", "shrimp", "sheep")}


def plural(name: str) -> str:
    """Returns "apples" for "apple" and "wine glasses" for "wine glass"."""
    *before, noun = name.split(" ")
    if noun in _PLURALS:
        noun = _PLURALS[noun]
    elif noun.endswith(("s", "x", "z", "ch", "sh")):
        noun += "es"
    elif noun.endswith("y") and noun[-2:-1] not in "aeiou":
        noun = noun[:-1] + "ies"
    else:
        noun += "s"
    return " ".join((*before, noun))


@dataclass(frozen=True, kw_only=True)
class ObjectWordings(Wordings):
    """Wordings that can speak of {objects}, as many as there are, and of {stays}, what the edit leaves."""

    silent: frozenset[str] = frozenset({"place", "scale", "other", "other_place"})

    def fill(self, template: str, params: Params, rng: np.random.Generator, **given: str) -> str:
        """Returns the template with every slot filled; see `Wordings.fill`."""
        if "object" in params:
            name = params["object"]
            given = {"objects": name if params.get("number") == "one" else plural(name)} | given
        return super().fill(template, params, rng, **given)

    def describe(self, names: Sequence[str], params: Params, rng: np.random.Generator) -> str:
        """Returns the expressive instruction; see `Wordings.describe`."""
        stays = f"the {params['other']} {params['other_place']}" if params.get("other") else "everything else"
        # One name is enough beside those of the objects.
        return super().describe(names[:1], params | {"stays": stays}, rng)


@dataclass(frozen=True, kw_only=True)
class ObjectEdit(Family):
    """An edit that is one layout of objects before and another one after it."""

    kind = "object"
    before_and_after: Callable[[Params], tuple[Layout, Layout]]
    """What the edit is about, without the other object."""
    lands: Callable[[Made, Pixels, tuple[Layout, Layout]], bool]
    """Whether a picture shows the edit inside the mask, which is not empty."""
    combination: tuple[str, ...] = ()
    """Parameters whose combinations are divided into train and test; none: the objects themselves are."""
    adds: str = ""
    """The parameter that names what comes where there was no such object; see `Objects.addable`."""
    needs_objects: bool = True

    def layouts(self, params: Params) -> tuple[Layout, Layout]:
        """Returns everything that stands on source and target."""
        before, after = self.before_and_after(params)
        other: Layout = ()
        if params.get("other"):
            other = (Placed(params["other"], params["other_place"], before[0].share),)
        return before + other, after + other

    def sample(self, scene: Scene, rng: np.random.Generator, split: Split = "train") -> Params | None:
        """Returns parameters drawn at random; None where the scene comes without enough objects."""
        if scene.objects is None:
            return None
        names = scene.objects.names("train" if self.combination else split)
        if len(names) < len(self.named):
            return None
        for _ in range(_MAX_TRIES):
            drawn = rng.choice(len(names), len(self.named), replace=False)
            params = {param: names[i] for param, i in zip(self.named, drawn, strict=True)}
            if self.adds and scene.objects.addable:
                params[self.adds] = pick(rng, scene.objects.addable)
                if len(set(params.values())) < len(params):
                    continue
            params |= {param: pick(rng, values) for param, values in self.choices.items()}
            if "other" in params and rng.random() >= _OTHER_SHARE:
                params |= {"other": "", "other_place": ""}
            if self._is_clear(params, scene.objects, scene.pixels.shape, split):
                return params
        return None

    def make(self, scene: Scene, params: Params) -> Made:
        """Returns the scene with the objects before and after the edit.

        Raises:
            DataError: if the scene comes without objects, or not with those that the parameters name.
        """
        if scene.objects is None:
            raise DataError(f"{self.name} puts objects on photographs; give a folder of them")
        before, after = self.layouts(params)
        source, target = (render(scene.pixels, layout, scene.objects) for layout in (before, after))
        stays = staying(before, after)
        behind = None
        if stays != before:
            behind = target if stays == after else render(scene.pixels, stays, scene.objects)
        return Made(
            source=source,
            target=target,
            mask=changed(source, target),
            objects=scene.objects,
            things=tuple((placed.title, box_of(placed, source.shape)) for placed in before),
            behind=behind,
            arrivals=arrivals(before, after, source.shape),
        )

    def check(self, made: Made, edited: Pixels, params: Params) -> bool:
        """Returns whether a picture shows the edit of the source, and nothing else.

        Raises:
            DataError: if the objects that it must be compared with are missing.
        """
        if made.mask is None or not made.mask.any():
            return False
        layouts = self.layouts(params)
        return (
            keeps_the_rest(made, edited)
            and _keeps_things(made, edited, layouts)
            and self.lands(made, edited, layouts)
        )

    def _is_clear(self, params: Params, objects: Objects, shape: tuple[int, ...], split: Split) -> bool:
        """Returns whether the parameters are of the split and make an edit that everybody sees."""
        if self.combination:
            text = ", ".join(params[name] for name in self.combination)
            if stable_split(f"{self.name}: {text}") != split:
                return False
        if bool(params.get("other")) != bool(params.get("other_place")):
            return False
        before, after = self.layouts(params)
        if before == after or not are_apart(before, shape) or not are_apart(after, shape):
            return False
        return "colour" not in params or _is_new_colour(objects, params["object"], params["colour"])


def _is_new_colour(objects: Objects, name: str, colour: str) -> bool:
    """Returns whether an object looks clearly different in a colour."""
    small = objects.picture(name).resize((16, 16))
    own, other = (np.asarray(p, np.float32) / 255 for p in (small, dyed(small, colour)))
    alpha = own[..., 3]
    change = np.abs(own[..., :3] - other[..., :3]).mean(axis=2)
    return bool((change * alpha).sum() > _VISIBLE_DYE * alpha.sum())


def _keeps_things(made: Made, edited: Pixels, layouts: tuple[Layout, Layout]) -> bool:
    """Returns whether each thing that stays does: one of them gone is little among all of the rest."""
    assert made.mask is not None
    change = np.abs(edited - made.source).mean(axis=2)
    for placed in set(layouts[0]) & set(layouts[1]):
        part = box_of(placed, edited.shape).part
        rest = change[part][~made.mask[part]]
        if rest.size and rest.mean() > _TOUCHED_SHARE * change[made.mask].mean():
            return False
    return True


def _is_near(made: Made, edited: Pixels, layouts: tuple[Layout, Layout]) -> bool:
    """Returns whether each thing that comes or goes does so: moving is more than taking away."""
    assert made.mask is not None
    before, after = (set(layout) for layout in layouts)
    for placed in before ^ after:
        part = box_of(placed, edited.shape).part
        mask, target = made.mask[part], made.target[part]
        wanted, left = (np.abs(pixels[part] - target)[mask].mean() for pixels in (made.source, edited))
        if left > _LEFT_SHARE * wanted:
            return False
    return True


def _is_dyed(made: Made, edited: Pixels, layouts: tuple[Layout, Layout]) -> bool:
    source, target, result = (chroma(pixels[made.mask]) for pixels in (made.source, made.target, edited))
    return distance(result, target) <= _LEFT_SHARE * distance(source, target)


def _is_the_right_one(made: Made, edited: Pixels, layouts: tuple[Layout, Layout]) -> bool:
    """Returns whether what came is nearer to the right object than to others, and than to what was there.

    The others are rendered on the background, as far as source and target show it.
    """
    if made.objects is None:
        raise DataError("the objects that this edit was made with are missing; keep them beside the records")
    before, after = (set(layout) for layout in layouts)
    (new,) = after - before
    shape = made.source.shape
    box, rgba = cover(new, shape, made.objects)
    ground = made.source.copy()
    for old in before - after:
        was_there = cover(old, shape, made.objects)[1][..., 3] > 0.02
        only_there = was_there & (rgba[..., 3] <= 0.02)
        ground[box.part][only_there] = made.target[box.part][only_there]

    def far(pixels: Pixels) -> float:
        return float(np.abs(edited[box.part] - pixels[box.part]).mean())

    own = far(made.target)
    return own < far(made.source) and all(
        own < far(render(ground, (replace(new, name=name),), made.objects))
        for name in _others(made.objects, {placed.name for placed in before | after})
    )


def _others(objects: Objects, names: set[str]) -> list[str]:
    """Returns other objects, the same ones whenever it is asked for the same."""

    def digest(name: str) -> str:
        return hashlib.md5(f"{sorted(names)} {name}".encode(), usedforsecurity=False).hexdigest()

    return sorted(objects.files.keys() - names, key=digest)[:NUM_OTHERS]


def _thing(params: Params) -> Placed:
    return Placed(params["object"], params["place"], SCALES[params.get("scale", "medium-sized")])


def _add(params: Params) -> tuple[Layout, Layout]:
    return (), (_thing(params),)


def _remove(params: Params) -> tuple[Layout, Layout]:
    return (_thing(params),), ()


def _replace(params: Params) -> tuple[Layout, Layout]:
    thing = _thing(params)
    return (thing,), (replace(thing, name=params["new"]),)


def _recolour(params: Params) -> tuple[Layout, Layout]:
    thing = _thing(params)
    return (thing,), (replace(thing, colour=params["colour"]),)


def _resize(params: Params) -> tuple[Layout, Layout]:
    thing = _thing(params)
    return (thing,), (replace(thing, share=thing.share * _BIGGER[params["change"]]),)


def _move(params: Params) -> tuple[Layout, Layout]:
    thing = _thing(params)
    return (thing,), (replace(thing, place=params["to"]),)


def _duplicate(params: Params) -> tuple[Layout, Layout]:
    thing = _thing(params)
    return (thing,), (thing, replace(thing, place=params["to"]))


def _count(params: Params) -> tuple[Layout, Layout]:
    def row(number: str) -> Layout:
        return tuple(Placed(params["object"], place, SCALES["small"]) for place in _NUMBERS[number])

    return row(params["before"]), row(params["number"])


def _odd_one_out(params: Params) -> tuple[Layout, Layout]:
    odd = params["place"]
    places = _CORNERS if odd in _CORNERS else _NUMBERS["three"]
    share = SCALES["medium-sized" if odd in _CORNERS else "small"]
    same = tuple(Placed(params["object"], place, share) for place in places if place != odd)
    return (*same, Placed(params["odd"], odd, share)), same


def _match(params: Params) -> tuple[Layout, Layout]:
    first = replace(_thing(params), colour=params["colour"])
    other = replace(first, place=params["to"])
    return (first, replace(other, colour="")), (first, other)


_ANYWHERE = tuple(PLACES)
_SCALES = tuple(SCALES)
_OTHER_PLACE = (*PLACES, "")

ADD = ObjectEdit(
    name="object_add",
    named=("object",),
    choices={"place": _ANYWHERE, "scale": _SCALES},
    before_and_after=_add,
    lands=_is_the_right_one,
    combination=("object", "place", "scale"),
    adds="object",
    weight=2,
    wordings=ObjectWordings(
        silent=frozenset(),
        words={"place": _DEFAULT_AT, "scale": _SIZED},
        commands=(
            "[add|put|place|insert|draw|include|show] a {scale} {object} {place}",
            "[add|put|place] a {scale} {object} [in the picture|on {it}|into the photo] {place}",
            "[give {it}|let there be|make] a {scale} {object} {place}",
            "[have|set|stick|paste|drop] a {scale} {object} {place}",
            "[add|bring in|throw in] [one|just one] {scale} {object} {place}",
            "make a {scale} {object} [appear|show up] {place}",
            "[position|set|stand|lay] a {scale} {object} {place}",
            "[paint|create|generate|render|sketch in|draw in] a {scale} {object} {place}",
            "[complete|decorate|complement] {it} with a {scale} {object} {place}",
        ),
        phrases=(
            "a {scale} {object} {place}",
            "with a {scale} {object} {place}",
            "[i want|i'd like|it needs|there should be] a {scale} {object} {place}",
            "[how about|what about|we need|i need] a {scale} {object} {place}",
            "[it would be nice to have|i want to see|imagine|there could be] a {scale} {object} {place}",
            "{it} [lacks|is missing|could use|should have] a {scale} {object} {place}",
            "a {scale} {object} [would be nice|should stand|should appear|belongs] {place}",
        ),
        expressive=(
            "A {scale} {object} would appear {place}, with {names} behind it and all else as before.",
            "There would be a {scale} {object} {place}, in front of {names}, casting a soft shadow.",
            "{Names} would stay as before, but now a {scale} {object} would stand {place}.",
        ),
        vague=(
            "[add|put in|draw|place] something [|nice|new|here]",
            "make {it} [less empty|more interesting|less boring|more fun]",
            "[fill|use] the [empty space|space]",
        ),
    ),
)

REMOVE = ObjectEdit(
    name="object_remove",
    named=("object", "other"),
    choices={"place": _ANYWHERE, "scale": _SCALES, "other_place": _OTHER_PLACE},
    before_and_after=_remove,
    lands=_is_near,
    weight=2,
    wordings=ObjectWordings(
        words={"place": PLACE_WORDS},
        commands=(
            "[remove|delete|erase|cut out|take out|take away|get rid of] the {object} [|{place}]",
            "[remove|delete|erase|take] the {object} [from|out of] {it}",
            "make the {object} [disappear|vanish|go away]",
            "[clear away|edit out|lose|wipe out|drop] the {object}",
            "take the {object} [away|out|off]",
            "[show|leave] {it} without the {object}",
            "[get|take] the {object} out of [the way|here|sight|view|the frame|the shot]",
            "[let|have] the {object} [go|be gone|disappear|vanish]",
            "[eliminate|banish|hide|crop out|kick out|throw out|throw away] the {object} [|{place}]",
            "[do away with|dispose of|paint over|scratch out|rub out|photoshop out] the {object} [|{place}]",
            "[remove|delete|erase|lose|drop] [that|this] {object} [|{place}]",
        ),
        phrases=(
            "no {object}",
            "without the {object}",
            "the {object} [should be gone|must go|should disappear|is in the way]",
            "[i don't want|we don't need] the {object} [|{place}]",
            "[time to|we should|we could|i'd like to] [lose|drop|remove|delete] the {object}",
            "the {object} [is|looks] [out of place|distracting|unwanted|unnecessary|ugly|wrong here]",
            "[i don't like|i hate|i'm tired of|nobody needs|who needs] the {object} [|{place}]",
            "{object} [gone|out|away|removed] [|please]",
            "{it} [minus|without|but without] the {object}",
            "{it} [would look|would be|is] better without the {object}",
            "there should be no {object} [|{place}]",
        ),
        expressive=(
            "The {object} {place} would be gone, so that {names} could be seen, and {stays} would stay.",
            "No {object} would be {place} any more, only {names}; {stays} would stay where it is.",
            "Where the {object} is now, {place}, {names} would show, and {stays} would not change.",
        ),
        vague=(
            "[take|leave|throw] something [out|away]",
            "make {it} [emptier|tidier|less crowded|less cluttered]",
            "[tidy|clean|clear] {it} up",
            "[remove|delete] what [is not needed|does not belong here|disturbs]",
        ),
    ),
)

REPLACE = ObjectEdit(
    name="object_replace",
    named=("object", "new", "other"),
    choices={"place": _ANYWHERE, "scale": _SCALES, "other_place": _OTHER_PLACE},
    before_and_after=_replace,
    lands=_is_the_right_one,
    combination=("object", "new"),
    adds="new",
    weight=2,
    wordings=ObjectWordings(
        words={"place": PLACE_WORDS},
        commands=(
            "[replace|exchange|substitute|swap|swap out] the {object} [|{place}] with a {new}",
            "[swap|exchange|trade|switch|change] the {object} for a {new}",
            "[turn|change|transform|convert|make] the {object} [|{place}] into a {new}",
            "[put|place|show|draw|use] a {new} [instead of|in place of] the {object}",
            "make the {object} a {new}",
            "let a {new} [replace|take the place of] the {object}",
            "[take out|remove|lose|drop] the {object} and [put in|add|show|use] a {new} [|instead]",
            "[let|have] the {object} [become|turn into|change into] a {new}",
            "[trade|change|exchange] the {object} [against|with|to] a {new}",
            "[put|place|show|draw|use] a {new} where the {object} [is|was|is now]",
            "[change|turn|make] [that|this] {object} into a {new}",
        ),
        phrases=(
            "a {new} instead of the {object}",
            "the {object} should [be|become] a {new}",
            "i'd rather have a {new} than the {object}",
            "not a {object} but a {new}",
            "[i want|i'd like|i need] a {new} [instead of|in place of|rather than] the {object}",
            "[i prefer|i'd prefer|better] a {new} [to|over|than] the {object}",
            "[what if|i wish] the {object} [was|were] a {new}",
            "the {object} would [be better|look better|be nicer] as a {new}",
            "{new} [instead of|in place of|not] {object}",
            "a {new} would be [better|nicer] than the {object}",
        ),
        expressive=(
            "The {object} {place} would turn into a {new} in front of {names}, and {stays} would stay.",
            "Instead of the {object} {place}, a {new} would be seen before {names}; {stays} would stay.",
            "A {new} would take the place of the {object} {place}, before {names}, with {stays} as it was.",
        ),
        vague=(
            "[swap|exchange|replace] something [|here|in {it}|for something else]",
            "put something else [there|here|in its place]",
            "turn it into something [else|different|new]",
        ),
    ),
)

RECOLOUR = ObjectEdit(
    name="object_recolour",
    named=("object", "other"),
    choices={"place": _ANYWHERE, "scale": _SCALES, "colour": _COLOURS, "other_place": _OTHER_PLACE},
    before_and_after=_recolour,
    lands=_is_dyed,
    weight=2,
    wordings=ObjectWordings(
        words={"place": PLACE_WORDS},
        commands=(
            "[make|paint|colour|color|dye|turn] the {object} [|{place}] {colour}",
            "[change|turn|set] the [colour|color] of the {object} to {colour}",
            "[give|paint|dye] the {object} [a {colour} colour|in {colour}]",
            "make the {object} [look|appear|all] {colour}",
            "[recolour|recolor] the {object} [in|to] {colour}",
            "make it a {colour} {object}",
            "[let|have] the {object} [be|become|turn|go] {colour}",
            "[cover|coat|spray|repaint|fill|tint] the {object} [with|in] {colour}",
            "[change|switch] the {object} to {colour}",
            "[use|pick|take|choose] {colour} for the {object}",
            "[make|paint|turn] [that|this] {object} {colour}",
        ),
        phrases=(
            "a {colour} {object}",
            "the {object} should be {colour}",
            "[i want|i'd like] the {object} [in|to be] {colour}",
            "{colour} for the {object}",
            "the {object} would [look better|look nicer|be better|be nice] in {colour}",
            "[i wish|what if|imagine] the {object} [was|were] {colour}",
            "{object} in {colour} [|please]",
            "the [colour|color] of the {object} should be {colour}",
            "{colour} {object} [please|instead]",
        ),
        expressive=(
            "The {object} {place} would be {colour} all over, before {names}, and {stays} would not change.",
            "In front of {names}, the {object} {place} would turn {colour}, and {stays} would stay the same.",
            "Only the {object} {place} would be dyed {colour}, beside {names}; {stays} would look as before.",
        ),
        vague=(
            "do something with the [colours|colors]",
            "[change|try|use] [another|a different|a new] [colour|color]",
            "[paint|dye|colour] something",
            "make something [more colourful|another colour]",
        ),
    ),
)

RESIZE = ObjectEdit(
    name="object_resize",
    named=("object", "other"),
    choices={"place": _ANYWHERE, "change": tuple(_BIGGER), "other_place": _OTHER_PLACE},
    before_and_after=_resize,
    lands=_is_near,
    wordings=ObjectWordings(
        words={
            "place": PLACE_WORDS,
            "change": _BIGGER_WORDS,
            "resize": _RESIZE_WORDS,
            "huge": _HUGE_WORDS,
            "grown": _GROWN_WORDS,
        },
        commands=(
            "make the {object} [|{place}] {change}",
            "make the {object} [look|appear|become|grow|get] {change}",
            "[turn|change|replace] the {object} [|{place}] into a {change} one",
            "[give|show|draw|put in|use] a {change} {object}",
            "[have|get|show] the {object} {change}",
            "[resize|scale|set|redraw] the {object} to be {change}",
            "make it a {change} {object}",
            "[resize|scale|change] the {object} [|{place}], {change} than now",
            "{resize} the {object} [|{place}|a lot|a bit|for me]",
            "{resize} [that|this] {object}",
            "[make|paint|draw|have|show] the {object} {huge}",
            "[turn|make] the {object} into a {huge} one",
            "let the {object} [be|become|get|look] {change}",
            "[make|have|draw|show] the {object} {grown}",
            "make [that|this] {object} {change}",
        ),
        phrases=(
            "a {change} {object}",
            "{change} {object}",
            "the {object} [should|must|ought to] be {change}",
            "[i want|i'd like] the {object} {change}",
            "the {object} [should|must|has to] be [{huge}|{grown}]",
            "the {object} would [be better|look better|be nicer] {change}",
            "[i wish|what if] the {object} [was|were] {change}",
            "[i want|i'd like|i need] a {change} {object}",
        ),
        expressive=(
            "The {object} {place} would be much {change} than now before {names}, and {stays} would stay.",
            "In front of {names}, a {change} {object} would be {place}, with {stays} as it was.",
            "The same {object} {place} would look much {change} before {names}; {stays} would not change.",
        ),
        vague=(
            "[change|alter|fix|correct] the [size|proportions|scale]",
            "make [something|one thing] [another size|a different size]",
            "[resize|rescale] something [|here]",
        ),
    ),
)

MOVE = ObjectEdit(
    name="object_move",
    named=("object", "other"),
    choices={"place": _ANYWHERE, "scale": _SCALES, "to": _ANYWHERE, "other_place": _OTHER_PLACE},
    before_and_after=_move,
    lands=_is_near,
    wordings=ObjectWordings(
        words={"to": _TO, "there": PLACE_WORDS},
        commands=(
            "[move|shift|bring|take|push|drag|carry|send] the {object} {to}",
            "move the {object} [|away] from where it is {to}",
            "[slide|transfer|relocate|pull|get] the {object} {to}",
            "let the {object} [go|move|wander|jump] {to}",
            "make the {object} [go|move|jump] {to}",
            "[bring|move] the [position|place] of the {object} {to}",
            "[put|place|set|position|have|show] the {object} {there}",
            "[nudge|shove|haul|roll|swing|hurry|transport] the {object} {to}",
            "take the {object} [away|from where it is] and put it {there}",
            "[pick up|grab|lift] the {object} and [put|place|drop] it {there}",
            "[change|shift] the [position|location|place] of the {object} {to}",
            "[move|shift|put|bring] [that|this] {object} {to}",
        ),
        phrases=(
            "the {object} [should go|has to go|goes|belongs] {to}",
            "{object} {to}",
            "the {object} [moved|shifted] {to}",
            "the {object} [should be|should stand|must be|belongs] {there}",
            "the {object} would [be better|look better|be nicer] {there}",
            "[i want|i'd like|i need] the {object} [|moved] {to}",
            "[i want|i'd like|i prefer] the {object} [|to be] {there}",
        ),
        expressive=(
            "The {object} would no longer be {place} but {to}, before {names}, and {stays} would stay.",
            "The {object} {place} would move and stand {to}, before {names}, and {stays} would stay.",
            "The {object} would be {to} instead of {place}, where {names} would show; {stays} would stay.",
        ),
        vague=(
            "[rearrange|reorder|reposition] [{it}|things|the things|something]",
            "[find|use|try] [a better|another|a different] [place|position] for it",
            "[move|shift|push] something [|somewhere else|around|to another place]",
            "improve the [composition|arrangement|layout]",
        ),
    ),
)

DUPLICATE = ObjectEdit(
    name="object_duplicate",
    named=("object", "other"),
    choices={"place": _ANYWHERE, "scale": _SCALES, "to": _ANYWHERE, "other_place": _OTHER_PLACE},
    before_and_after=_duplicate,
    lands=_is_near,
    wordings=ObjectWordings(
        words={"to": PLACE_WORDS},
        commands=(
            "[add|put|place|draw|insert|show] [another|a second|the same|one more] {object} {to}",
            "[duplicate|copy|clone|repeat] the {object} {to}",
            "[put|place|paste|add] a [copy|duplicate|twin|clone] of the {object} {to}",
            "[double|copy] the {object}, the [second|new] one {to}",
            "make a [copy|second one] of the {object} {to}",
            "[add|put|place|show|have] an [extra|additional|identical] {object} {to}",
            "[reproduce|replicate|show|draw] the {object} [|again|once more|a second time] {to}",
            "[copy and paste|copy-paste] the {object} {to}",
            "[give|get] the {object} a [twin|double|partner|sibling] {to}",
            "[have|show|let there be] two {objects}, the [new|other|second] one {to}",
            "[clone|copy|duplicate|repeat] [that|this] {object} {to}",
        ),
        phrases=(
            "[another|a second|one more] {object} {to}",
            "the same {object} again {to}",
            "[i want|there should be] [another|a second] {object} {to}",
            "a [copy|clone|twin|duplicate] of the {object} {to}",
            "the {object} [twice|again|once more|a second time], {to}",
            "[i need|we need|it needs|i'd like] [one more|another|an extra] {object} {to}",
            "[one more|an extra|an additional] {object} {to} [please|would be nice]",
        ),
        expressive=(
            "Besides the {object} {place}, a second one just like it would be {to}, in front of {names}.",
            "A copy of the {object} {place} would appear {to}, before {names}, and {stays} would stay.",
            "Two {objects} would be seen, one {place} and one {to}, before {names}, with {stays} as it was.",
        ),
        vague=(
            "[add|put in|show|draw] [another one|one more|a second one|one more of these]",
            "[double|duplicate|copy|repeat|clone] something",
            "make {it} a pair",
        ),
    ),
)

COUNT = ObjectEdit(
    name="object_count",
    named=("object",),
    choices={"before": tuple(_NUMBERS), "number": tuple(_NUMBERS)},
    before_and_after=_count,
    lands=_is_near,
    wordings=ObjectWordings(
        silent=frozenset({"before"}),
        words={
            "number": {"one": ("one", "only one", "just one"), "two": ("two", "2"), "three": ("three", "3")}
        },
        commands=(
            "make it {number} {objects}",
            "[show|draw|have|put|leave|use] {number} {objects} [|in {it}|there|in a row]",
            "[turn|change] {it} into a picture of {number} {objects}",
            "[give|show] me {number} {objects}",
            "make {it} [show|contain|have] {number} {objects}",
            "let there be {number} {objects}",
            "[make it|make that|have] {number} {objects} [altogether|in all|in total]",
            "[make sure|see to it that] there are {number} {objects}",
            "[let me see|display|paint|render|arrange|line up|place] {number} {objects}",
            "[turn|change|make] [this|it|them] into {number} {objects}",
            "[get|give me|go for] {number} {objects}",
            "let it be {number} {objects}",
        ),
        phrases=(
            "{number} {objects} [|please|in a row|altogether]",
            "there should be {number} {objects}",
            "[i want|i'd like|i need] [|to see] {number} {objects}",
            "{number} {objects} instead",
            "there [must|ought to|could|have to] be {number} {objects}",
            "{it} [needs|should have|should show|must have] {number} {objects}",
            "[how about|what about|better] {number} {objects}",
            "{number} {objects} would be [right|better|nice]",
        ),
        expressive=(
            "There would be {number} {objects} in all, placed evenly, with {names} behind.",
            "In front of {names}, not {before} but {number} {objects} would be seen, and no more.",
            "Where there was a row of {before}, {number} {objects} would stand in front of {names}.",
        ),
        vague=(
            "change [the number|how many there are|the number of things]",
            "[show|use|have] [a different number|another number]",
            "make it [more or fewer|another number|a different number]",
        ),
    ),
)

ODD_ONE_OUT = ObjectEdit(
    name="object_odd_one_out",
    named=("object", "odd"),
    choices={"place": (*_NUMBERS["three"], *_CORNERS)},
    before_and_after=_odd_one_out,
    lands=_is_near,
    wordings=ObjectWordings(
        vague=(
            "[remove|delete|erase|take out|take away|get rid of] the odd [one|one out|thing out|thing]",
            "[remove|delete|erase|take out] [the one that|what] [does not|doesn't] [belong|fit]",
            "[remove|take out|erase] the [different one|stranger|intruder|misfit|one that is different]",
            "[leave|keep|show] only [those|the ones|the things] that [match|are alike|belong together]",
            "[get rid of|lose|drop|throw out] [the odd one|the odd one out|the one that does not fit]",
            "[remove|delete|erase|lose] [whatever|what] is [different|unlike the others|not like the rest]",
            "[find|spot|pick] the [odd one|intruder|misfit|stranger] and [remove|delete|erase] it",
        ),
        expressive=(
            "The {odd} {place} would be gone, and only the {objects} would stay in front of {names}.",
            "All the {objects} would stay, but the {odd} {place}, the odd one, would vanish before {names}.",
            "Where the {odd} is, {place}, {names} would show, and the {objects} would stay as they are.",
        ),
    ),
)

MATCH = ObjectEdit(
    name="object_match",
    named=("object",),
    choices={"place": _ANYWHERE, "to": _ANYWHERE, "colour": _COLOURS},
    before_and_after=_match,
    lands=_is_dyed,
    wordings=ObjectWordings(
        vague=(
            "make the other one [|have] the same [colour|color]",
            "[paint|dye|colour|color] the other one [the same|alike|to match|in the same colour|too]",
            "[give|lend] the other one the same [colour|color|paint]",
            "make the [other|second] one [match|look the same|like the first|match the first one]",
            "make [them|both|the two] [match|look alike|the same|the same colour|the same color]",
        ),
        expressive=(
            "The {object} {to} would turn {colour} too, just like the one {place}, before {names}.",
            "Both {objects} would be {colour}, the one {place} and now also the one {to}, before {names}.",
            "The other {object}, {to}, would be dyed {colour} like the one {place}, and {names} would stay.",
        ),
    ),
)

OBJECTS = (
    ADD,
    REMOVE,
    REPLACE,
    RECOLOUR,
    RESIZE,
    MOVE,
    DUPLICATE,
    COUNT,
    ODD_ONE_OUT,
    MATCH,
)
