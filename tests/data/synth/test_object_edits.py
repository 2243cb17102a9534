from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mgie.data.records import write_json_lines
from mgie.data.synth import Made, Objects, Pixels, Scene, as_picture
from mgie.data.synth.layout import PLACES, SCALES, Placed, are_apart, box_of, changed, render
from mgie.data.synth.object_edits import OBJECTS, ObjectEdit, plural
from mgie.data.synth.wording import Params, Split
from mgie.errors import DataError
from mgie.models.layers import MAX_ARRIVALS

FAMILIES = {family.name: family for family in OBJECTS}
DRAWS_HELD_OUT = sorted(name for name, family in FAMILIES.items() if not family.combination)


def draw(family: ObjectEdit, scene: Scene, seed: int, split: Split = "train") -> Params:
    params = family.sample(scene, np.random.default_rng(seed), split)
    assert params is not None
    return family.validate(params)


@pytest.fixture
def scene(photo: Callable[..., Pixels], objects: Objects) -> Scene:
    """A picture (96, 112, 3) with objects to put on it."""
    return Scene(pixels=photo(4, 96, 112), objects=objects)


@pytest.mark.parametrize("name", FAMILIES)
def test_target_shows_the_edit_and_nothing_else_changes(name: str, scene: Scene) -> None:
    family, untouched = FAMILIES[name], scene.pixels.copy()
    for seed in range(6):
        params = draw(family, scene, seed)
        made = family.make(scene, params)
        assert made.mask is not None and 0.02 < made.mask.mean() < 0.9
        for pixels in (made.source, made.target):
            assert pixels.dtype == np.float32 and pixels.shape == (96, 112, 3)
            assert pixels.min() >= 0 and pixels.max() <= 1
        assert np.abs(made.target - made.source)[~made.mask].max(initial=0) < 0.02
        assert family.check(made, made.target, params)
        assert not family.check(made, made.source, params)
        assert np.array_equal(family.make(scene, params).target, made.target)
    assert np.array_equal(scene.pixels, untouched)


@pytest.mark.parametrize("name", FAMILIES)
def test_check_bears_a_soft_copy_but_no_change_of_the_rest(name: str, scene: Scene) -> None:
    family = FAMILIES[name]
    params = draw(family, scene, 1)
    made = family.make(scene, params)
    assert made.mask is not None
    small = Image.fromarray((made.target * 255).astype(np.uint8)).resize((56, 48), Image.Resampling.LANCZOS)
    soft = np.asarray(small.resize((112, 96), Image.Resampling.BICUBIC), np.float32) / 255
    soft = np.where(made.mask[..., None], soft, made.source)
    assert family.check(made, soft, params)
    assert not family.check(made, np.where(made.mask[..., None], soft, 1 - made.source), params)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - set(DRAWS_HELD_OUT)))
def test_another_object_does_not_pass(name: str, scene: Scene) -> None:
    family, passed = FAMILIES[name], 0
    assert scene.objects is not None
    for seed in range(15):
        params = draw(family, scene, seed)
        made = family.make(scene, params)
        before, after = family.layouts(params)
        others = [other for other in scene.objects.files if other not in params.values()]
        wrong = tuple(placed if placed in before else replace(placed, name=others[seed]) for placed in after)
        passed += family.check(made, render(scene.pixels, wrong, scene.objects), params)
    # It is compared with 20 of more than 30; one that it is not compared with may be very like it.
    assert passed <= 1


@pytest.mark.parametrize("name", sorted(set(DRAWS_HELD_OUT) - {"object_remove"}))
def test_taking_everything_away_does_not_pass(name: str, scene: Scene) -> None:
    for seed in range(6):
        params = draw(FAMILIES[name], scene, seed)
        made = FAMILIES[name].make(scene, params)
        assert not FAMILIES[name].check(made, scene.pixels, params)


def test_removing_the_other_thing_does_not_pass(scene: Scene) -> None:
    family = FAMILIES["object_remove"]
    params = {"object": "apple", "place": "on the left", "scale": "medium-sized"}
    params |= {"other": "dog", "other_place": "on the right"}
    made = family.make(scene, family.validate(params))
    assert scene.objects is not None
    apple, dog = family.layouts(params)[0]
    assert family.check(made, render(scene.pixels, (dog,), scene.objects), params)
    assert not family.check(made, render(scene.pixels, (apple,), scene.objects), params)
    assert not family.check(made, scene.pixels, params)
    count = FAMILIES["object_count"]
    three_to_one = {"object": "cup", "before": "three", "number": "one"}
    made = count.make(scene, three_to_one)
    assert not count.check(made, scene.pixels, three_to_one)


def test_recolouring_is_judged_by_its_colour(scene: Scene) -> None:
    family = FAMILIES["object_recolour"]
    params = draw(family, scene, 3)
    made = family.make(scene, params)
    darker = made.target - 0.2 * made.target * (made.mask[..., None] if made.mask is not None else 0)
    assert family.check(made, darker, params)
    for colour in {"red", "green", "blue", "yellow"} - {params["colour"]}:
        assert not family.check(made, family.make(scene, params | {"colour": colour}).target, params)


@pytest.mark.parametrize("name", DRAWS_HELD_OUT)
def test_held_out_objects_are_drawn_in_test_only(name: str, scene: Scene) -> None:
    family = FAMILIES[name]
    assert scene.objects is not None
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        known = set(scene.objects.names(split))
        for seed in range(20):
            params = draw(family, scene, seed, split)
            assert {params[param] for param in family.named} - {""} <= known


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - set(DRAWS_HELD_OUT)))
def test_held_out_combinations_are_drawn_in_test_only(name: str, scene: Scene) -> None:
    family, seen = FAMILIES[name], {}
    assert scene.objects is not None
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        drawn = [draw(family, scene, seed, split) for seed in range(150)]
        assert {params["object"] for params in drawn} <= set(scene.objects.names("train"))
        seen[split] = {tuple(params[param] for param in family.combination) for params in drawn}
    assert len(seen["test"]) > 20 and not seen["train"] & seen["test"]


@pytest.mark.parametrize("name", [n for n, family in FAMILIES.items() if "other" in family.named])
def test_in_half_of_the_rows_something_else_stands_apart(name: str, scene: Scene) -> None:
    family = FAMILIES[name]
    drawn = [draw(family, scene, seed) for seed in range(100)]
    with_other = [params for params in drawn if params["other"]]
    assert 20 <= len(with_other) <= 60
    for params in with_other:
        before, after = family.layouts(params)
        assert before[-1] == after[-1] == replace(before[0], name=params["other"], place=before[-1].place)
        assert are_apart(before, scene.pixels.shape) and are_apart(after, scene.pixels.shape)


def test_nothing_is_drawn_without_objects_and_nothing_made(scene: Scene) -> None:
    bare = Scene(pixels=scene.pixels)
    for family in OBJECTS:
        assert family.sample(bare, np.random.default_rng(0)) is None
        with pytest.raises(DataError, match="give a folder"):
            family.make(bare, draw(family, scene, 0))
    params = {"object": "zebra", "place": "in the middle", "scale": "large"}
    with pytest.raises(DataError, match="no object 'zebra'"):
        FAMILIES["object_add"].make(scene, params)
    with pytest.raises(DataError, match=r"place of object_add is 'nowhere'; expected one of at the top left"):
        FAMILIES["object_add"].validate(params | {"place": "nowhere"})


def test_a_check_without_the_objects_says_so(scene: Scene) -> None:
    family = FAMILIES["object_add"]
    params = draw(family, scene, 0)
    made = family.make(scene, params)
    with pytest.raises(DataError, match="objects that this edit was made with are missing"):
        family.check(Made(source=made.source, target=made.target, mask=made.mask), made.target, params)


def test_the_expressive_instruction_says_what_stays(scene: Scene) -> None:
    rng = np.random.default_rng(0)
    params = {"object": "apple", "place": "on the left", "scale": "small"}
    words = FAMILIES["object_remove"].wordings
    for _ in range(20):
        text = words.describe(("road",), params | {"other": "dog", "other_place": "at the top"}, rng)
        assert "apple" in text and "on the left" in text and "the dog at the top" in text.lower()
        alone = words.describe(("road",), params | {"other": "", "other_place": ""}, rng)
        assert "everything else" in alone


def test_instructions_name_the_object_that_is_meant(scene: Scene) -> None:
    rng = np.random.default_rng(5)
    for name in ("object_remove", "object_recolour", "object_move", "object_duplicate"):
        params = draw(FAMILIES[name], scene, 2) | {"object": "cup"}
        for _ in range(30):
            assert "cup" in FAMILIES[name].wordings.instruction(name, params, rng, "train").lower()
    count = {"object": "cup", "before": "one"}
    words = FAMILIES["object_count"].wordings
    for _ in range(30):
        assert "cups" in words.instruction("object_count", count | {"number": "two"}, rng, "train").lower()
        one = words.instruction("object_count", count | {"number": "one"}, rng, "train").lower()
        assert "cup" in one and "cups" not in one


@pytest.mark.parametrize("split", ["train", "test"])
def test_no_wording_of_a_size_asks_for_the_other(split: Split) -> None:
    rng = np.random.default_rng(6)
    bigger, smaller = (
        {
            FAMILIES["object_resize"]
            .wordings.instruction(
                "object_resize", {"object": "cup", "place": "on the left", "change": change}, rng, split
            )
            .lower()
            for _ in range(300)
        }
        for change in ("bigger", "smaller")
    )
    assert len(bigger) > 50 and len(smaller) > 50 and not bigger & smaller


@pytest.mark.parametrize(
    ("name", "several"),
    [
        ("apple", "apples"),
        ("wine glass", "wine glasses"),
        ("butterfly", "butterflies"),
        ("key", "keys"),
        ("mouse", "mice"),
        ("fish", "fish"),
        ("box", "boxes"),
    ],
)
def test_plural(name: str, several: str) -> None:
    assert plural(name) == several


@pytest.mark.parametrize("shape", [(64, 64, 3), (60, 160, 3), (170, 50, 3), (16, 16, 3)])
def test_objects_stand_where_they_are_said_to_and_inside(
    shape: tuple[int, int, int], objects: Objects
) -> None:
    grey = np.full(shape, 0.5, np.float32)
    for place, (x, y) in PLACES.items():
        for share in SCALES.values():
            placed = Placed("apple", place, share)
            box = box_of(placed, shape)
            assert min(box.top, box.left) >= 0
            assert box.top + box.side <= shape[0] and box.left + box.side <= shape[1]
            rows, columns = np.nonzero(changed(grey, render(grey, (placed,), objects)))
            assert abs(rows.mean() / shape[0] - y) < 0.2 and abs(columns.mean() / shape[1] - x) < 0.2


def test_light_and_shadow_come_from_the_picture(objects: Objects) -> None:
    def shown(level: float) -> Pixels:
        return render(np.full((80, 80, 3), level, np.float32), (placed,), objects)

    placed = Placed("apple", "in the middle", 0.5)
    dark, light = shown(0.1), shown(0.9)
    assert dark[40, 40].mean() < 0.8 * light[40, 40].mean()
    foot = box_of(placed, (80, 80)).top + box_of(placed, (80, 80)).side
    assert light[foot, 40].mean() < 0.75 and np.allclose(light[:15], 0.9)
    red, blue = (
        render(np.full((80, 80, 3), ground, np.float32), (placed,), objects)[40, 40]
        for ground in ((0.8, 0.2, 0.2), (0.2, 0.2, 0.8))
    )
    assert red[0] > 1.1 * blue[0] and blue[2] > 1.1 * red[2]


def test_the_same_layout_at_every_size(objects: Objects) -> None:
    layout = (Placed("apple", "on the left"), Placed("dog", "at the bottom right", 0.28, "red"))
    large, small = (render(np.full((size, size, 3), 0.6, np.float32), layout, objects) for size in (256, 128))
    reduced = np.asarray(Image.fromarray((large * 255).astype(np.uint8)).resize((128, 128)), np.float32) / 255
    assert np.abs(reduced - small).mean() < 0.01


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Placed("apple", "nowhere"), "no place 'nowhere'"),
        (Placed("apple", "on the left", 0.3, "beige"), "'beige'"),
    ],
)
def test_wrong_layouts_are_refused(wrong: Placed, message: str, objects: Objects) -> None:
    with pytest.raises(DataError, match=message):
        render(np.zeros((32, 32, 3), np.float32), (wrong,), objects)


def test_only_addable_objects_come_where_there_was_none(
    scene: Scene, objects: Objects, tmp_path: Path
) -> None:
    few = [
        {"name": n, "image": "x.png", "split": "test" if n == "egg" else "train"}
        for n in ("cow", "egg", "dog")
    ]
    write_json_lines(few, tmp_path / "objects.jsonl")
    limited = Objects.read(objects.folder, tmp_path)
    assert limited.addable == ("cow", "dog") and limited.files == objects.files
    where = replace(scene, objects=limited)
    added = {draw(FAMILIES["object_add"], where, seed)["object"] for seed in range(20)}
    swaps = [draw(FAMILIES["object_replace"], where, seed) for seed in range(30)]
    removed = {draw(FAMILIES["object_remove"], where, seed)["object"] for seed in range(30)}
    assert added == {"cow", "dog"} == {params["new"] for params in swaps}
    assert all(params["new"] not in (params["object"], params["other"]) for params in swaps)
    assert len({params["object"] for params in swaps}) > 8 and len(removed) > 8
    write_json_lines([few[1] | {"split": "train"}], tmp_path / "objects.jsonl")
    with pytest.raises(DataError, match="has no object to train on that .* has"):
        Objects.read(objects.folder, tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_goes_and_what_comes(name: str, scene: Scene) -> None:
    """By the pixels: what comes is nearer to where it comes from, what goes leaves what is without it."""
    family = FAMILIES[name]
    params = draw(family, scene, 3)
    made = family.make(scene, params)
    before, after = family.layouts(params)
    assert [place for _, place in made.things] == [box_of(placed, made.source.shape) for placed in before]
    in_place = name in {"object_recolour", "object_match"}
    coming = () if in_place else tuple(placed for placed in after if placed not in before)
    boxes = [new for _, new in made.arrivals]
    assert boxes == sorted((box_of(p, made.source.shape) for p in coming), key=lambda box: box.left)
    assert len(boxes) <= MAX_ARRIVALS
    assert all((old is None) == (name in {"object_add", "object_replace"}) for old, _ in made.arrivals)
    for old, new in made.arrivals:
        if old is None:
            continue
        shown, from_there = (
            np.asarray(as_picture(pixels[box.part]).resize((8, 8)), float)
            for pixels, box in ((made.target, new), (made.source, old))
        )
        unedited = np.asarray(as_picture(made.source[new.part]).resize((8, 8)), float)
        assert np.abs(shown - from_there).mean() < np.abs(shown - unedited).mean()
    going = set() if in_place else set(before) - set(after)
    assert (made.behind is not None) == bool(going)
    if made.behind is not None:
        outside = np.ones(made.source.shape[:2], np.bool_)
        for placed in going:
            box = box_of(placed, made.source.shape)
            rim = round(0.3 * box.side)  # its shadow
            outside[
                box.top : box.top + box.side + rim, max(0, box.left - rim) : box.left + box.side + rim
            ] = False
            assert np.abs(made.behind[box.part] - scene.pixels[box.part]).mean() < 0.02
            assert np.abs(made.behind[box.part] - made.source[box.part]).mean() > 0.02
        assert np.abs(made.behind - made.source)[outside].max() < 0.05
