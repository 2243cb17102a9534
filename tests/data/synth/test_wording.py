import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from mgie.data.synth import FAMILIES, Objects, Scene
from mgie.data.synth.region import Region
from mgie.data.synth.wording import Split, expand, mistyped, slots, spoken_list, stable_split, templates, tidy


def all_templates(name: str, split: Split) -> list[str]:
    words = FAMILIES[name].wordings
    if words.always_vague:
        groups = templates(words.vague, (), "vague", split, frozenset())
    else:
        groups = templates(words.commands, words.phrases, name, split, frozenset())
    return [template for _, group in groups for template in group]


def test_expand_makes_every_choice() -> None:
    assert expand("[make|turn] {it} [|very ]red") == [
        "make {it} red",
        "make {it} very red",
        "turn {it} red",
        "turn {it} very red",
    ]


def test_tidy_and_spoken_list() -> None:
    assert tidy("add a  orange frame , please") == "add an orange frame, please"
    assert tidy("a umbrella, a unicorn, a ewe and a eel") == "an umbrella, a unicorn, a ewe and an eel"
    assert [spoken_list(names) for names in (["car"], ["car", "road"], ["car", "road", "sky"])] == [
        "the car",
        "the car and the road",
        "the car, the road and the sky",
    ]


def test_split_is_stable_and_near_one_in_eight() -> None:
    assert stable_split("tint: make {it} {very} {colour}") == "train"
    held_out = [stable_split(str(number)) == "test" for number in range(4000)]
    assert 0.1 < np.mean(held_out) < 0.15


@pytest.mark.parametrize("name", FAMILIES)
def test_dozens_of_templates_that_are_divided(name: str) -> None:
    train, test = all_templates(name, "train"), all_templates(name, "test")
    assert len(set(train)) >= 24 and len(set(test)) >= 2
    assert not set(train) & set(test)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_variant_has_wordings_that_name_its_parameters(name: str, split: Split) -> None:
    rng = np.random.default_rng(0)
    family, words = FAMILIES[name], FAMILIES[name].wordings
    choices = {param: ("wine glass",) for param in family.named} | dict(family.choices)
    choices |= {param: choices[param][:1] for param in words.silent & choices.keys()}
    for values in itertools.product(*map(dict.fromkeys, choices.values())):
        params = dict(zip(choices, values, strict=True))
        for _ in range(5):
            if words.always_vague:
                instruction = words.vague_instruction(rng, split)
            else:
                instruction = words.instruction(name, params, rng, split)
            assert 0 < len(instruction) < 90
            assert not set("{}[]|") & set(instruction) and "  " not in instruction


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.wordings.vague])
def test_vague_instructions_name_nothing(name: str, split: Split) -> None:
    rng = np.random.default_rng(4)
    seen = {FAMILIES[name].wordings.vague_instruction(rng, split).lower() for _ in range(20)}
    assert len(seen) > 2 and not any(set("{}[]|") & set(text) for text in seen)


def test_strength_is_spoken_only_where_it_is_meant() -> None:
    rng = np.random.default_rng(1)
    words = FAMILIES["darker"].wordings
    soft = ("slight", "bit", "little", "touch", "somewhat")
    for _ in range(200):
        assert not any(s in words.instruction("darker", {"strength": "normal"}, rng, "train") for s in soft)
    spoken = [words.instruction("darker", {"strength": "slight"}, rng, "train") for _ in range(200)]
    assert np.mean([any(s in text for s in soft) for text in spoken]) > 0.95  # the rest are typing mistakes


@pytest.mark.parametrize(
    "names", [(), ("building",), ("building", "road"), ("golden retriever", "sofa", "wall")]
)
@pytest.mark.parametrize("name", [n for n, family in FAMILIES.items() if not isinstance(family, Region)])
def test_expressive_instruction_is_a_sentence_about_this_picture(
    name: str, names: tuple[str, ...], objects: Objects
) -> None:
    rng = np.random.default_rng(2)
    scene = Scene(pixels=np.zeros((48, 48, 3), np.float32), names=names, objects=objects)
    seen = set()
    for _ in range(40):
        params = FAMILIES[name].sample(scene, rng)
        assert params is not None
        text = FAMILIES[name].wordings.describe(names, params, rng)
        seen.add(text)
        assert 10 <= len(text.split()) <= 30 and text[0].isupper() and text.endswith(".")
        assert not set("{}[]|") & set(text) and "  " not in text and "the the" not in text
        assert names == () or f"the {names[0]}" in text.lower()
    assert len(seen) >= 3


def test_expressive_templates_have_only_known_slots() -> None:
    for name, family in FAMILIES.items():
        for template in family.wordings.expressive:
            assert slots(template) & {"names", "Names", *family.named}, name
            known = {"names", "Names", "amount", "degree", "shade", "objects", "stays"}
            assert slots(template) <= known | {*family.named, *family.choices}, name


def test_the_same_seed_gives_the_same_words_in_every_process() -> None:
    program = """
import numpy as np
from mgie.data.synth.wording import Wordings
words = Wordings(expressive=(), words={name: {name: (name, name.upper())} for name in "abcd"})
params, rng = {name: name for name in "abcd"}, np.random.default_rng(0)
print([words.fill("{a} {b} {c} {d}", params, rng) for _ in range(8)])
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(said) == 1


def test_mistyped_changes_one_word_a_little() -> None:
    rng = np.random.default_rng(3)
    for _ in range(100):
        words, changed = (
            ["make", "the", "picture", "brighter"],
            mistyped("make the picture brighter", rng).split(),
        )
        assert len(changed) == 4 and sum(a != b for a, b in zip(words, changed, strict=True)) <= 1
        assert all(abs(len(a) - len(b)) <= 1 for a, b in zip(words, changed, strict=True))
    assert mistyped("a b", rng) == "a b"
