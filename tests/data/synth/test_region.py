import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mgie.data.photographs import Photograph, read_photographs
from mgie.data.records import read_records
from mgie.data.synth import Made, MadeEdit, Pixels, Scene, make_edit, synthesise
from mgie.data.synth.material import GROUNDS, PATTERNS, SKIES, ground, pattern, sky
from mgie.data.synth.measure import saturation
from mgie.data.synth.region import EVERYWHERE, PLACES, REGION, Region, beside, place_of
from mgie.data.synth.replacement import REPLACEMENT
from mgie.data.synth.scene import Mask
from mgie.data.synth.wording import PLACE_WORDS, Params, Split, expand, slots
from mgie.errors import DataError

FAMILY = {family.name: family for family in (*REGION, *REPLACEMENT)}


def box(top: float, left: float, bottom: float, right: float, height: int = 96, width: int = 128) -> Mask:
    """Returns a rectangle, in shares of the sides."""
    mask = np.zeros((height, width), bool)
    mask[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = True
    return mask


def scene_of(pixels: Pixels) -> Scene:
    """Returns a dog and a dress between sky and road."""
    size = pixels.shape[:2]
    regions = {
        "dog": box(0.3, 0.1, 0.7, 0.4, *size),
        "sky": box(0, 0, 0.25, 1, *size),
        "road": box(0.75, 0, 1, 1, *size),
        "dress": box(0.3, 0.6, 0.7, 0.9, *size),
    }
    composites = {"sky": (regions["sky"], np.clip(pixels * (0.5, 0.4, 0.3), 0, 1).astype(np.float32))}
    return Scene(pixels=pixels, names=tuple(regions), regions=regions, composites=composites)


def drawn(family: Region, scene: Scene, seed: int = 0) -> Params:
    """Returns parameters; not each draw finds something that shows."""
    rng = np.random.default_rng(seed)
    return next(params for params in (family.sample(scene, rng) for _ in range(40)) if params)


@pytest.mark.parametrize("name", FAMILY)
def test_target_shows_the_edit_inside_the_mask_alone(name: str, source: Pixels) -> None:
    family, scene = FAMILY[name], scene_of(source)
    for seed in range(2):
        params = drawn(family, scene, seed)
        assert family.validate(json.loads(json.dumps(params))) == params
        made = family.make(scene, params)
        assert made.mask is not None and made.target.dtype == np.float32
        assert made.target.min() >= 0 and made.target.max() <= 1
        assert np.array_equal(made.target[~made.mask], source[~made.mask])
        stored = np.asarray(Image.fromarray((made.target * 255 + 0.5).astype(np.uint8)), np.float32) / 255
        assert family.check(made, made.target, params) and family.check(made, stored, params)
        assert not family.check(made, source.copy(), params)


@pytest.mark.parametrize("name", FAMILY)
def test_the_edit_elsewhere_or_everywhere_is_not_it(name: str, source: Pixels) -> None:
    family, scene = FAMILY[name], scene_of(source)
    params = drawn(family, scene)
    made = family.make(scene, params)
    assert made.mask is not None
    everywhere = family.apply(scene, made.mask, params)
    elsewhere = np.where(made.mask[..., None], source, everywhere)
    # Around the blurred part the blur has nothing to show, so that is changed otherwise.
    everywhere = 1 - everywhere if name == "background_blur" else everywhere
    assert not family.check(made, np.where(made.mask[..., None], made.target, everywhere), params)
    assert not family.check(made, elsewhere, params)


OTHERS = [
    ("region_tint", {"colour": "red"}, {"colour": "blue"}),
    ("region_tint", {"colour": "green"}, {"colour": "magenta"}),
    ("region_sky", {"sky": SKIES[0]}, {"sky": SKIES[1]}),
    ("region_sky", {"sky": "starry night sky"}, {"sky": "grey cloudy sky"}),
    ("region_ground", {"ground": "grass"}, {"ground": "sand"}),
    ("region_ground", {"ground": "snow"}, {"ground": "water"}),
    ("region_pattern", {"pattern": "stripes"}, {"pattern": "dots"}),
    ("region_pattern", {"colour": "red"}, {"colour": "blue"}),
]


@pytest.mark.parametrize(("name", "asked", "other"), OTHERS)
def test_check_fails_for_other_parameters(name: str, asked: Params, other: Params, source: Pixels) -> None:
    family, scene = FAMILY[name], scene_of(source)
    params = drawn(family, scene) | asked
    made = family.make(scene, params)
    assert family.check(made, made.target, params)
    assert not family.check(made, family.make(scene, params | other).target, params)


def test_darker_brighter_grey_and_blurred_are_told_apart(source: Pixels) -> None:
    scene = scene_of(source)
    for pair in (("region_brighter", "region_darker"), ("background_blur", "background_grey")):
        targets = {}
        params = drawn(FAMILY[pair[0]], scene) | {"region": "dog"}
        for name in pair:
            targets[name] = FAMILY[name].make(scene, params)
        for name in pair:
            verdicts = [FAMILY[name].check(targets[name], made.target, params) for made in targets.values()]
            assert verdicts == [other == name for other in pair]


@pytest.mark.parametrize("name", FAMILY)
def test_same_edit_at_every_size(name: str, photo: Callable[..., Pixels]) -> None:
    smooth = Image.fromarray(np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8))
    large, small = (
        scene_of(np.asarray(smooth.resize(size, Image.Resampling.BICUBIC), np.float32) / 255)
        for size in ((560, 400), (140, 100))
    )
    params = drawn(FAMILY[name], scene_of(photo(0)))
    edited, expected = (FAMILY[name].make(scene, params).target for scene in (large, small))
    reduced = Image.fromarray((edited * 255 + 0.5).astype(np.uint8)).resize((140, 100), Image.Resampling.BOX)
    assert np.abs(np.asarray(reduced, np.float32) / 255 - expected).mean() < 0.015


@pytest.mark.parametrize("light", [0.02, 0.98])
@pytest.mark.parametrize("colour", ["red", "blue", "brown"])
def test_a_colour_shows_on_black_and_white(light: float, colour: str) -> None:
    texture = np.random.default_rng(0).normal(0, 0.01, (96, 128, 1)).astype(np.float32)
    scene = scene_of(np.clip(light + np.repeat(texture, 3, 2), 0, 1))
    params = {"region": "sky", "colour": colour, "place": "at the top", "others": "the road"}
    made = FAMILY["region_tint"].make(scene, params)
    assert FAMILY["region_tint"].check(made, made.target, params)
    assert saturation(made.target[made.mask][:, None]) > 0.15


def test_nothing_of_a_bright_dog_bleeds_into_the_blurred_background() -> None:
    pixels = np.full((96, 128, 3), 0.3, np.float32)
    scene = scene_of(pixels)
    pixels[scene.regions["dog"]] = (1, 0, 0)
    made = FAMILY["background_blur"].make(scene, {"region": "dog"})
    assert np.abs(made.target[made.mask] - 0.3).max() < 0.03


def test_folds_of_the_cloth_stay_under_the_pattern(photo: Callable[..., Pixels]) -> None:
    pixels = photo(0)
    pixels[:, 96:] *= 0.5
    scene = Scene(pixels=pixels, names=("dress",), regions={"dress": box(0.1, 0.5, 0.9, 1)})
    params = {"region": "dress", "pattern": "stripes", "colour": "white"}
    made = FAMILY["region_pattern"].make(scene, params)
    covered, target = pattern("stripes", 96, 128) == 1, made.target
    assert made.plain is not None and made.cover is not None
    in_stripes = made.cover[..., None] * (made.plain - pixels)
    np.testing.assert_allclose(target - pixels, in_stripes, atol=1e-6)
    assert (np.abs(made.plain - pixels).max(-1) > 0.01)[20:80, 70:120].mean() > 0.9  # between stripes too
    light, dark = (target[20:80, side][covered[20:80, side]] for side in (slice(70, 90), slice(100, 120)))
    assert light.mean() > 1.1 * dark.mean() and light.mean() > 0.85


def test_materials_are_pictures_that_differ() -> None:
    made = [sky(name, 40, 60) for name in SKIES] + [ground(name, 40, 60) for name in GROUNDS]
    for index, pixels in enumerate(made):
        assert pixels.shape == (40, 60, 3) and pixels.dtype == np.float32
        assert pixels.min() >= 0 and pixels.max() <= 1
        assert all(np.abs(pixels - other).mean() > 0.08 for other in made[:index])
    for name in PATTERNS:
        assert 0.3 < pattern(name, 120, 160).mean() < 0.7


def test_the_colour_of_what_comes_is_said_of_an_exchanged_region(source: Pixels) -> None:
    mask, family = scene_of(source).regions["sky"], FAMILY["region_exchange"]
    grey = np.repeat(0.45 + 0.1 * source[..., :1], 3, axis=2)
    rng = np.random.default_rng(0)
    gains = {"dark green": (0.4, 0.5, 0.27), "pale blue": (1.2, 1.5, 1.8), "": (0.97, 1.0, 1.03)}
    for colour, gain in gains.items():
        other = np.clip(grey * gain, 0, 1).astype(np.float32)
        params = family.sample(Scene(pixels=grey, composites={"sky": (mask, other)}), rng)
        assert (params or {"colour": ""})["colour"] == colour


@pytest.mark.parametrize(
    ("corners", "place"),
    [
        ((0, 0, 0.3, 1), "at the top"),
        ((0.8, 0, 1, 1), "at the bottom"),
        ((0.3, 0.3, 0.7, 0.7), "in the middle"),
        ((0.2, 0, 0.9, 0.2), "on the left"),
        ((0.6, 0.7, 1, 1), "at the bottom right"),
        ((0, 0, 1, 0.8), "all over the picture"),
    ],
)
def test_place(corners: tuple[float, float, float, float], place: str) -> None:
    assert place_of(box(*corners)) == place and place in PLACES


def test_what_is_beside_has_no_part_in_the_mask(source: Pixels) -> None:
    scene = scene_of(source)
    assert beside(scene, scene.regions["sky"]) == "the dog on the left"
    assert beside(scene, scene.regions["dog"]) == "the sky at the top"
    assert beside(scene, np.ones_like(scene.regions["sky"])) == "the rest of the picture"


@pytest.mark.parametrize("share", [0.03, 0.95])
def test_very_small_and_very_large_regions_are_left_alone(share: float, source: Pixels) -> None:
    for name, family in FAMILY.items():
        regions: dict[str, Mask] = dict.fromkeys(("dog", "sky", "road", "dress"), box(0, 0, 1, share))
        scene = Scene(pixels=source, names=tuple(regions), regions=regions)
        assert all(family.sample(scene, np.random.default_rng(seed)) is None for seed in range(5)), name


def test_photographs_are_taken_by_their_listing() -> None:
    mask = Path("mask.png")

    def takers(*names: str, composites: tuple[tuple[str, Path, Path], ...] = ()) -> set[str]:
        regions = tuple((name, mask) for name in names)
        photograph = Photograph(path=Path("p.png"), names=names, regions=regions, composites=composites)
        return {name for name, family in FAMILY.items() if family.takes(photograph)}

    pointwise, around = (
        {"region_tint", "region_brighter", "region_darker"},
        {
            "background_blur",
            "background_grey",
        },
    )
    assert takers() == set()
    assert takers("building") == pointwise
    assert takers("building", "dog") == pointwise
    assert takers("dog", "building") == pointwise | around
    assert takers("sky") == pointwise | {"region_sky"}
    assert takers("road") == pointwise | {"region_ground"}
    assert takers("jeans") == pointwise | around | {"region_pattern"}
    assert takers("rock", composites=(("rock", mask, mask),)) == pointwise | {"region_exchange"}


def test_a_field_is_not_turned_into_grass(photo: Callable[..., Pixels]) -> None:
    regions = {"field": box(0.5, 0, 1, 1)}
    scene, rng = Scene(pixels=photo(0), names=("field",), regions=regions), np.random.default_rng(0)
    found = [FAMILY["region_ground"].sample(scene, rng) for _ in range(60)]
    assert {params["ground"] for params in found if params} == {"sand", "snow", "water"}


def test_a_scene_without_the_region_is_refused(source: Pixels) -> None:
    scene = scene_of(source)
    params = drawn(FAMILY["region_tint"], scene) | {"region": "lake"}
    with pytest.raises(DataError, match="'lake'; the scene has dog, sky, road, dress"):
        FAMILY["region_tint"].make(scene, params)


@pytest.mark.parametrize("name", FAMILY)
def test_words_say_what_changes_and_where(name: str, photo: Callable[..., Pixels]) -> None:
    family, scene, rng = FAMILY[name], scene_of(photo(0)), np.random.default_rng(0)
    edits = [edit for _ in range(40) if (edit := make_edit(family, scene, rng))]
    silent = family.wordings.silent
    spoken = [
        edit for edit in edits if "region" in silent or edit.params["region"] in edit.instruction.lower()
    ]
    assert len(spoken) >= 0.9 * len(edits)  # the rest are typing mistakes
    for edit in edits:
        assert 10 <= len(edit.expressive.split()) <= 30 and edit.expressive.endswith(".")
        assert f"the {edit.params['region']} {edit.params['place']}" in edit.expressive.lower()
        assert edit.expressive[0].isupper() and not set("{}[]|") & set(edit.expressive)
    assert len({edit.expressive for edit in edits}) >= 3


@pytest.mark.parametrize("name", ["region_tint", "background_grey", "region_exchange"])
@pytest.mark.parametrize("region", ["sky", "trees"])
@pytest.mark.parametrize("unmarked", [False, True])
def test_instructions_say_where_a_region_is_if_its_name_does_not_tell(
    name: str, region: str, unmarked: bool, photo: Callable[..., Pixels]
) -> None:
    family, rng = FAMILY[name], np.random.default_rng(0)
    scene = Scene(pixels=photo(0), unmarked=unmarked)
    params = {key: values[0] for key, values in family.choices.items()} | {"region": region}
    for place in PLACES:
        said = [
            family.asked(scene, params | {"place": place, "others": "the dog"}, rng)["region"]
            for _ in range(200)
        ]
        where = {f"{region} {words}" for words in PLACE_WORDS.get(place, ())}
        told = np.mean([words in where for words in said])
        assert set(said) <= where | {region}
        if place == EVERYWHERE:
            assert told == 0
        elif unmarked and region == "trees":
            assert told == 1
        else:
            assert 0.2 < told < 0.5


def test_the_instruction_of_an_edit_may_say_where_and_the_rest_stays_as_it_was(
    photo: Callable[..., Pixels],
) -> None:
    rng = np.random.default_rng(0)
    scene = replace(scene_of(photo(0)), unmarked=True, names=("dress",))
    scene = replace(scene, regions={"dress": scene.regions["dress"]})
    edits = [edit for _ in range(30) if (edit := make_edit(FAMILY["region_darker"], scene, rng))]
    assert all(edit.params["region"] == "dress" for edit in edits)
    told = [
        any(f"dress {words}" in edit.instruction.lower() for words in PLACE_WORDS["on the right"])
        for edit in edits
    ]
    assert np.mean(told) > 0.9  # the rest are typing mistakes
    assert not any("right on the right" in edit.expressive for edit in edits)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", FAMILY)
def test_vague_instructions_leave_the_edit_open(
    name: str, split: Split, photo: Callable[..., Pixels]
) -> None:
    family, scene, rng = FAMILY[name], scene_of(photo(0)), np.random.default_rng(0)
    assert not any(slots(template) for pattern in family.wordings.vague for template in expand(pattern))
    edits = [make_edit(family, scene, rng, wording_split=split, vague_rate=1) for _ in range(30)]
    assert any(edits)
    for edit in filter(None, edits):
        values = (v for k, v in edit.params.items() if k in family.choices and k != "place")
        assert edit.vague and not any(value in edit.instruction for value in values)
        assert edit.params["region"] in edit.expressive


def test_a_dataset_of_region_edits_reads_back_and_checks(
    photo: Callable[..., Pixels], tmp_path: Path
) -> None:
    rows = []
    for seed in range(4):
        scene = scene_of(photo(seed))
        pictures: dict[str, np.ndarray] = {f"{seed}": scene.pixels, f"{seed}_sky": scene.composites["sky"][1]}
        for stem, pixels in pictures.items():
            Image.fromarray((pixels * 255 + 0.5).astype(np.uint8)).save(tmp_path / f"{stem}.png")
        for name, mask in scene.regions.items():
            Image.fromarray(mask).save(tmp_path / f"{seed}_{name}_mask.png")
        rows.append(
            {
                "image": f"{seed}.png",
                "names": scene.names,
                "regions": [[name, f"{seed}_{name}_mask.png"] for name in scene.regions],
                "composites": [["sky", f"{seed}_sky.png", f"{seed}_sky_mask.png"]],
            }
        )
    (tmp_path / "photographs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "made"
    list(synthesise(read_photographs(tmp_path), out, 2 * len(FAMILY), seed=0, families=tuple(FAMILY)))
    records = read_records(out)
    assert [record.meta["family"] for record in records] == 2 * list(FAMILY)
    for record in records:
        assert record.mask and record.target
        source, target = (
            np.asarray(Image.open(out / name), np.float32) / 255 for name in (record.images[0], record.target)
        )
        made = Made(source=source, target=target, mask=np.asarray(Image.open(out / record.mask)) > 0)
        edit = MadeEdit.from_meta(record.meta)
        assert edit.check(made, target) and not edit.check(made, source)
