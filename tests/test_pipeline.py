import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
)
from PIL import Image

from mgie.errors import ConfigError, ImageError
from mgie.images import Rearrangement, resize
from mgie.models.mllm import dialogue_text, tokenize_dialogues, visual_token_embeds, visual_token_ids
from mgie.pipeline import MGIEPipeline
from mgie.prompts import answer, question
from tests.conftest import build_pipeline, picture

RED, BLUE = "make it red", "turn the picture blue, please"


def generator(seed):
    return torch.Generator().manual_seed(seed)


def pixels(image):
    return np.asarray(image, dtype=np.int16)


def latents_of(pipeline, *args, **kwargs):
    return torch.stack(pipeline(*args, **kwargs, output_type="latent").images)


@pytest.fixture(scope="module")
def learned():
    """A pipeline whose language model has learned one answer by heart, and the answer."""
    pipeline = build_pipeline()
    words = "The house and the trees would turn deep red, as if seen through red glass."
    text = dialogue_text(pipeline.processor, question(RED), answer(words))
    inputs = pipeline.processor(
        images=[picture()], text=[text], add_special_tokens=False, return_tensors="pt"
    )
    optimizer = torch.optim.AdamW(pipeline.mllm.parameters(), lr=5e-3)
    for _ in range(120):
        loss = pipeline.mllm(**inputs, labels=inputs["input_ids"]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    pipeline.mllm.generation_config.max_new_tokens = 96
    return pipeline, words


def test_it_is_a_diffusers_pipeline(pipeline):
    assert isinstance(pipeline, DiffusionPipeline)
    assert list(pipeline.components) == ["mllm", "processor", "edit_head", "vae", "unet", "scheduler"]
    assert pipeline.config["num_visual_tokens"] == 8
    assert pipeline.config["working_size"] == {
        "max_pixels": 1024,
        "multiple": 16,
        "upscale": True,
        "max_aspect": 2.0,
    }


def test_round_trip_through_a_folder_changes_nothing(pipeline, pipeline_folder):
    loaded = MGIEPipeline.from_pretrained(pipeline_folder)
    loaded.set_progress_bar_config(disable=True)
    assert {
        name: loaded.config[name] for name in ("working_size", "guidance_scale", "num_inference_steps")
    } == {name: pipeline.config[name] for name in ("working_size", "guidance_scale", "num_inference_steps")}
    first, second = (p(picture(), RED, generator=generator(0)) for p in (pipeline, loaded))
    assert first.expressive_instructions == second.expressive_instructions
    assert first.images[0].tobytes() == second.images[0].tobytes()


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_weights_have_the_wanted_dtype_and_values_can_be_replaced(name, pipeline_folder):
    loaded = MGIEPipeline.from_pretrained(pipeline_folder, **{name: torch.bfloat16}, guidance_scale=2.0)
    models = (loaded.mllm, loaded.edit_head, loaded.vae, loaded.unet)
    assert {parameter.dtype for model in models for parameter in model.parameters()} == {torch.bfloat16}
    assert loaded.config["guidance_scale"] == 2.0


def test_an_argument_that_does_nothing_is_refused(pipeline_folder):
    with pytest.raises(ConfigError, match=r"no argument 'revision'; expected dtype, device_map, or"):
        MGIEPipeline.from_pretrained(pipeline_folder, revision="main")


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(pipeline):
    first, again, other = (
        pipeline(picture(), RED, generator=generator(seed)).images[0].tobytes() for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_a_row_does_not_depend_on_its_batch(pipeline):
    pictures = [picture(), picture(40, 60), picture(60, 30), picture()]
    instructions = [RED, BLUE, BLUE, "make it a night"]
    together = pipeline(pictures, instructions, generator=[generator(i) for i in range(4)])
    for i in range(4):
        alone = pipeline(pictures[i], instructions[i], generator=generator(i))
        assert alone.expressive_instructions == together.expressive_instructions[i : i + 1]
        assert together.images[i].size == pictures[i].size
        assert np.abs(pixels(alone.images[0]) - pixels(together.images[i])).max() <= 1


def test_one_imagination_serves_several_seeds(pipeline, monkeypatch):
    imagined = pipeline.encode_instruction(picture(), RED)
    monkeypatch.setattr(pipeline.mllm, "generate", None)  # the language model is not asked again
    out = pipeline(picture(), imagination=imagined, generator=[generator(0), generator(1)])
    monkeypatch.undo()
    alone = pipeline(picture(), RED, generator=generator(1))
    assert out.expressive_instructions == imagined.expressive_instructions * 2
    assert np.abs(pixels(out.images[1]) - pixels(alone.images[0])).max() <= 1
    assert out.images[0].tobytes() != out.images[1].tobytes()


def test_no_pictures_are_a_mistake(pipeline):
    with pytest.raises(ConfigError, match="got no image and no instruction"):
        pipeline([], [])


@pytest.mark.parametrize("words", [{"instruction": BLUE}, {"expressive_instruction": "All would be blue."}])
def test_words_beside_an_imagination_are_not_passed_over(pipeline, words):
    imagined = pipeline.encode_instruction(picture(), RED)
    with pytest.raises(ConfigError, match=r"words beside an imagination .* reimagine\(\)"):
        pipeline(picture(), imagination=imagined, **words)


def test_imagination_has_the_shapes_and_the_null_condition(pipeline):
    imagined = pipeline.encode_instruction([picture(), picture()], [RED, BLUE])
    assert len(imagined) == 2
    assert imagined.visual_token_states.shape == (2, 8, 32)
    assert imagined.prompt_embeds.shape == imagined.negative_prompt_embeds.shape == (2, 5, 16)
    embeds = visual_token_embeds(pipeline.mllm, visual_token_ids(pipeline.processor))
    with torch.no_grad():
        null = pipeline.edit_head(torch.zeros(1, 8, 32), embeds)
    torch.testing.assert_close(imagined.negative_prompt_embeds, null.expand(2, -1, -1))


def test_the_model_writes_the_ids_of_training(learned):
    pipeline, words = learned
    written = pipeline.encode_instruction(picture(), RED)
    given = pipeline.encode_instruction(picture(), RED, words)
    assert written.expressive_instructions == given.expressive_instructions == [words]
    torch.testing.assert_close(written.visual_token_states, given.visual_token_states, rtol=0, atol=1e-4)


def test_written_rows_of_different_length_do_not_depend_on_their_batch(learned):
    pipeline, _ = learned
    instructions = [RED, BLUE, "make it a night"]
    together = pipeline.encode_instruction(picture(), instructions)
    for i, instruction in enumerate(instructions):
        alone = pipeline.encode_instruction(picture(), instruction)
        assert alone.expressive_instructions == together.expressive_instructions[i : i + 1]
        torch.testing.assert_close(
            alone.visual_token_states[0], together.visual_token_states[i], rtol=0, atol=1e-4
        )


def test_what_a_model_copies_is_of_its_own_instruction(learned):
    pipeline, _ = learned
    assert pipeline.config["copy_bias"] == 0
    copying = MGIEPipeline(**pipeline.components, **pipeline.defaults | {"copy_bias": 50.0})
    pieces = pipeline.processor.tokenizer(" trees", add_special_tokens=False).input_ids
    starts = (pipeline.processor.tokenizer.decode(pieces[:end]).strip() for end in (1, 2))
    begun = next(filter(None, starts))  # "tzz" is what the model writes in the place of "trees"
    instructions = [RED, f"make it {begun}zz"]
    together = copying.encode_instruction(picture(), instructions).expressive_instructions
    alone = [copying.encode_instruction(picture(), i).expressive_instructions[0] for i in instructions]
    assert together == alone
    assert f" {begun}zz" in together[1] and "zz" not in together[0]


def test_states_are_those_at_the_position_before_the_visual_tokens(pipeline):
    words = "The house would be red."
    text = dialogue_text(pipeline.processor, question(RED), answer(words))
    inputs = pipeline.processor(
        images=[picture()], text=[text], add_special_tokens=False, return_tensors="pt"
    )
    first = inputs["input_ids"][0].tolist().index(visual_token_ids(pipeline.processor)[0])
    with torch.no_grad():
        hidden = pipeline.mllm.model(**inputs).last_hidden_state[0]
    states = pipeline.encode_instruction(picture(), RED, words).visual_token_states[0]
    torch.testing.assert_close(states, hidden[first - 1 : first + 7])


@torch.no_grad()
def test_without_visual_tokens_the_last_states_are_taken(pipeline):
    """As in the original: the toy model has learned nothing, so it never stops, and writes no [IMG0]."""
    states = pipeline.encode_instruction(picture(), RED).visual_token_states[0]
    rows, lengths, pixel_values = tokenize_dialogues(pipeline.processor, [picture()], [question(RED)])
    prompt = torch.tensor(rows)
    written = pipeline.mllm.generate(input_ids=prompt, pixel_values=pixel_values)
    assert written.shape[1] == lengths[0] + 12
    assert visual_token_ids(pipeline.processor)[0] not in written[0]
    hidden = pipeline.mllm.model(input_ids=written, pixel_values=pixel_values).last_hidden_state[0]
    torch.testing.assert_close(states, hidden[-10:-2])  # the last token is never read


def test_a_picture_cannot_be_written(pipeline):
    """A model that is trained little may find its picture's token likely; it would be read as a picture."""
    image_id = torch.tensor([pipeline.processor.image_token_id])
    hook = pipeline.mllm.lm_head.register_forward_hook(lambda _, __, out: out.index_fill(-1, image_id, 1e4))
    try:
        words = pipeline.encode_instruction(picture(), RED).expressive_instructions
    finally:
        hook.remove()
    assert "<image>" not in words[0]


def test_own_words_are_taken_without_generating(pipeline, monkeypatch):
    monkeypatch.setattr(pipeline.mllm, "generate", None)
    out = pipeline(picture(), RED, expressive_instruction="All is   red. ", generator=generator(0))
    assert out.expressive_instructions == ["All is red."]


def test_embeds_are_taken_as_everywhere_in_diffusers(pipeline):
    imagined = pipeline.encode_instruction(picture(), RED)
    out = pipeline(
        picture(),
        prompt_embeds=imagined.prompt_embeds,
        negative_prompt_embeds=imagined.negative_prompt_embeds,
        generator=generator(0),
    )
    assert out.images[0].tobytes() == pipeline(picture(), RED, generator=generator(0)).images[0].tobytes()
    assert out.expressive_instructions == [""]


@pytest.mark.parametrize(("size", "working"), [((48, 40), (32, 32)), ((20, 200), (16, 32))])
def test_forms_of_output(pipeline, size, working):
    shapes = {}
    for form in ("pil", "np", "pt", "latent"):
        for keep_native in (True, False):
            out = pipeline(
                picture(*size), RED, generator=generator(0), output_type=form, keep_native=keep_native
            )
            image = out.images[0]
            shapes[form, keep_native] = image.size if isinstance(image, Image.Image) else tuple(image.shape)
    (w, h), (ww, wh) = size, working
    assert shapes == {
        ("pil", True): (w, h),
        ("pil", False): (ww, wh),
        ("np", True): (h, w, 3),
        ("np", False): (wh, ww, 3),
        ("pt", True): (3, h, w),
        ("pt", False): (3, wh, ww),
        ("latent", True): (4, wh // 8, ww // 8),
        ("latent", False): (4, wh // 8, ww // 8),
    }
    assert set(out.seconds) == {"read", "imagine", "paint"}


def test_what_an_edit_shows_again_comes_from_the_picture(pipeline, monkeypatch):
    everywhere = np.ones((32, 32, 1), np.float32)
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    nowhere = np.zeros_like(everywhere)
    black = np.zeros((32, 32, 3), np.float32)
    moved = Rearrangement(black, nowhere, nowhere, everywhere, ((left, right),))
    forward = pipeline.unet.forward

    def with_layers(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.layers = "found"
        return output

    def told(found, seen):
        assert found == "found" and seen.shape == (2, 3, 32, 32)
        return [moved, Rearrangement(black, nowhere, nowhere, nowhere)]

    monkeypatch.setattr(pipeline.unet, "forward", with_layers)
    monkeypatch.setattr(pipeline.unet, "layers", SimpleNamespace(rearrangements=told), raising=False)
    image = picture(48, 40)
    out = pipeline([image, image], RED, generator=generator(0))
    shown, plain = map(pixels, out.images)
    assert [len(told.copies) for told in out.rearrangements] == [1, 0]
    assert np.array_equal(shown[2:-2, 26:-2], pixels(image)[2:-2, 2:-26])
    assert not np.array_equal(plain[2:-2, 26:-2], pixels(image)[2:-2, 2:-26])


def test_an_edit_of_a_part_is_decoded_as_one_of_all_and_ends_at_the_pixel(pipeline, monkeypatch):
    """The first of two edits is of the left half; what is guided is what it would be everywhere."""
    left, forward = torch.zeros(1, 32, 32), pipeline.unet.forward
    left[..., :16] = 1

    def told(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.layers, output.everywhere = "none", output.sample
        output.sample = 0 * output.sample
        return output

    monkeypatch.setattr(pipeline.unet, "forward", told)
    layers = SimpleNamespace(rearrangements=lambda *_: [None, None])
    monkeypatch.setattr(pipeline.unet, "layers", layers, raising=False)
    monkeypatch.setattr(pipeline.unet, "changed_pixels", lambda *_: [left, None], raising=False)

    def edited(**options):
        arguments = {"generator": generator(0), "num_inference_steps": 1, "guidance_scale": 2.0} | options
        return pipeline([picture(), picture()], RED, keep_native=False, output_type="np", **arguments).images

    part, plain = edited()
    encoded = pipeline.encode_image(picture())
    np.testing.assert_allclose(part[:, 16:], encoded.decoded[:, 16:], atol=1e-6)
    assert np.abs(part[:, :16] - encoded.decoded[:, :16]).max() > 0.01
    assert np.abs(part[:, :16] - plain[:, :16]).max() > 0.01
    assert np.array_equal(edited()[0], part)
    twice = pipeline(
        [encoded] * 2,
        RED,
        keep_native=False,
        output_type="np",
        generator=generator(0),
        num_inference_steps=1,
        guidance_scale=2.0,
    ).images[0]
    np.testing.assert_allclose(twice, part, atol=1e-6)

    def replace(_, __, ___, tensors):
        return {"latents": torch.zeros_like(tensors["latents"])}

    replaced = edited(callback_on_step_end=replace)
    np.testing.assert_allclose(replaced[0], replaced[1], atol=1e-6)  # the last word is the callback's


def test_a_working_size_by_hand_is_rounded_down(pipeline):
    out = pipeline(picture(), RED, height=50, width=33, keep_native=False, generator=generator(0))
    assert out.images[0].size == (32, 48)


def test_source_latents_are_the_mode_and_not_scaled(pipeline):
    seen = {}

    def look(_, step, __, tensors):
        seen[step] = tensors
        return tensors

    names = ("latents", "image_latents", "prompt_embeds", "negative_prompt_embeds")
    pipeline(
        picture(),
        RED,
        generator=generator(0),
        callback_on_step_end=look,
        callback_on_step_end_tensor_inputs=names,
    )
    source = torch.from_numpy(np.asarray(resize(picture(), (32, 32)), np.float32) / 127.5 - 1)
    with torch.no_grad():
        mode = pipeline.vae.encode(source.permute(2, 0, 1)[None]).latent_dist.mode()
    assert list(seen) == [0, 1, 2]
    torch.testing.assert_close(seen[2]["image_latents"], mode)


def test_a_callback_can_replace_the_latents_and_interrupt(pipeline):
    steps = []

    def stop(pipe, step, _, tensors):
        steps.append(step)
        pipe._interrupt = True
        return {"latents": torch.zeros_like(tensors["latents"])}

    out = latents_of(pipeline, picture(), RED, generator=generator(0), callback_on_step_end=stop)
    assert steps == [0]
    assert not out.any()
    assert latents_of(pipeline, picture(), RED, generator=generator(0)).any()  # the next call runs again


@pytest.mark.parametrize(("s_text", "s_image", "rows"), [(4.0, 1.5, 3), (4.0, 1.0, 2), (1.0, 1.5, 1)])
def test_the_unet_is_asked_no_more_than_needed(pipeline, s_text, s_image, rows):
    asked = []
    hook = pipeline.unet.register_forward_pre_hook(lambda _, inputs: asked.append(len(inputs[0])))
    pipeline(picture(), RED, guidance_scale=s_text, image_guidance_scale=s_image, generator=generator(0))
    hook.remove()
    assert asked == [rows] * 3


def test_the_unet_is_told_the_aspect_of_each_picture_itself(pipeline):
    told = []
    hook = pipeline.unet.register_forward_pre_hook(
        lambda _, inputs, given: told.append((inputs[0].shape, given["added_cond_kwargs"]["aspects"])),
        with_kwargs=True,
    )
    pictures = [picture(48, 40), pipeline.encode_image(picture(45, 40))]
    options = {"guidance_scale": 4.0, "image_guidance_scale": 1.0, "generator": generator(0)}
    pipeline(pictures, RED, num_inference_steps=1, **options)
    hook.remove()
    ((shape, aspects),) = told
    assert shape[0] == 4 and shape[2] == shape[3]
    torch.testing.assert_close(aspects, torch.tensor([1.2, 1.125, 1.2, 1.125]))


@pytest.mark.parametrize(
    "scheduler_class", [EulerDiscreteScheduler, DDIMScheduler, EulerAncestralDiscreteScheduler]
)
@pytest.mark.parametrize(("s_text", "s_image"), [(7.5, 1.5), (4.0, 1.0), (1.0, 1.5)])
def test_painting_equals_diffusers_own_pipeline(pipeline, scheduler_class, s_text, s_image):
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
    ).eval()
    scheduler = scheduler_class(beta_schedule="scaled_linear")
    ours = MGIEPipeline(**pipeline.components | {"vae": vae, "scheduler": scheduler})
    theirs = StableDiffusionInstructPix2PixPipeline(
        vae=vae,
        unet=pipeline.unet,
        scheduler=scheduler_class(beta_schedule="scaled_linear"),
        text_encoder=None,
        tokenizer=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    imagined = pipeline.encode_instruction(picture(), RED)
    embeds = {
        "prompt_embeds": imagined.prompt_embeds,
        "negative_prompt_embeds": imagined.negative_prompt_embeds,
    }
    settings = {"num_inference_steps": 4, "guidance_scale": s_text, "image_guidance_scale": s_image}
    for pipe in (ours, theirs):
        pipe.set_progress_bar_config(disable=True)
    expected = theirs(
        image=picture(), **embeds, **settings, generator=generator(3), output_type="latent"
    ).images
    latents = latents_of(ours, picture(), **embeds, **settings, generator=generator(3))
    torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-3)


def test_given_latents_take_the_place_of_the_generator(pipeline):
    noise = torch.randn(1, 4, 4, 4, generator=generator(5))
    drawn = latents_of(pipeline, picture(), RED, generator=generator(5))
    torch.testing.assert_close(latents_of(pipeline, picture(), RED, latents=noise), drawn)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"instruction": " "}, "instruction is empty"),
        ({"instruction": "x" * 2001}, "2001 characters"),
        ({"instruction": "put <image> in it"}, "contains <image>"),
        ({"instruction": RED, "expressive_instruction": "red </s>"}, "contains </s>"),
        ({"instruction": [RED, RED], "image": [picture()] * 3}, "3 image, 2 instruction"),
        ({}, "no instruction given"),
        ({"instruction": RED, "output_type": "jpeg"}, "output_type is 'jpeg'"),
        ({"instruction": RED, "num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"instruction": RED, "num_inference_steps": 1001}, "at most 1000"),
        ({"instruction": RED, "guidance_scale": -1}, "guidance_scale is -1"),
        ({"instruction": RED, "height": 32}, "expected both"),
        ({"instruction": RED, "latents": torch.zeros(1, 4, 8, 8)}, r"\(4, 8, 8\)"),
        ({"instruction": RED, "callback_on_step_end_tensor_inputs": ["noise"]}, "no tensor 'noise'"),
        ({"prompt_embeds": torch.zeros(1, 5, 16)}, "negative_prompt_embeds are None"),
    ],
)
def test_bad_arguments_are_refused(pipeline, arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        pipeline(**{"image": picture()} | arguments)
    assert "\n" not in str(caught.value)


def test_a_bad_picture_is_refused(pipeline, tmp_path):
    with pytest.raises(ImageError, match="does not exist"):
        pipeline(tmp_path / "nothing.png", RED)


def test_arguments_default_to_the_models_own():
    defaults = inspect.signature(MGIEPipeline.__call__).parameters
    names = ("num_inference_steps", "guidance_scale", "image_guidance_scale", "height", "width")
    assert {name: defaults[name].default for name in names} == dict.fromkeys(names)


def test_other_words_pass_through_the_model_alone(pipeline, monkeypatch):
    pictures = [picture(), picture(64, 32)]
    words = ["The house would be blue.", "All would be dark, the trees and the sky."]
    whole = pipeline.encode_instruction(pictures, RED, words)
    imagined = pipeline.encode_instruction(pictures, RED, keep_prompts=True)
    monkeypatch.setattr(pipeline.mllm, "generate", None)
    monkeypatch.setattr(pipeline.mllm.model, "get_image_features", None)
    for _ in range(2):  # the prompts are as they were
        again = pipeline.reimagine(imagined, words)
        assert again.expressive_instructions == words
        torch.testing.assert_close(again.visual_token_states, whole.visual_token_states, rtol=0, atol=1e-5)
        torch.testing.assert_close(again.prompt_embeds, whole.prompt_embeds, rtol=0, atol=1e-5)
    with pytest.raises(ConfigError, match="keep_prompts=True"):
        pipeline.reimagine(whole, words)


def test_an_encoded_image_stands_for_its_picture(pipeline, monkeypatch):
    pictures = [picture(48, 40), picture(80, 40)]
    generators = [generator(3), generator(4)]
    expected = pipeline(pictures, RED, generator=generators)
    encoded = [pipeline.encode_image(image) for image in pictures]
    assert [(image.size, image.image_latents.shape[1:]) for image in encoded] == [
        ((32, 32), (4, 4)),
        ((32, 16), (2, 4)),
    ]
    monkeypatch.setattr(pipeline.vae, "encode", None)
    output = pipeline(encoded, RED, generator=[generator(3), generator(4)])
    for a, b in zip(output.images, expected.images, strict=True):
        assert np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1
    with pytest.raises(ConfigError, match="encode_image"):
        pipeline(encoded[0], RED, height=32, width=32)


def test_masks_and_strengths_are_rows_of_the_batch(pipeline):
    image = picture()
    mask = Image.new("L", image.size)
    mask.paste(255, (0, 0, 24, 40))
    full, half, part = pipeline(
        *(image, [RED] * 3),
        generator=[generator(5) for _ in range(3)],
        strength=[1, 0.5, 1],
        mask=[Image.new("L", image.size, 255)] * 2 + [mask],
        keep_unchanged=False,
    ).images
    original = np.asarray(image, int)
    moved = np.asarray(full, int) - original
    assert np.abs(moved).max() > 20
    assert np.abs(2 * (np.asarray(half, int) - original) - moved).max() <= 2
    assert np.array_equal(np.asarray(part)[:, 24:], original[:, 24:])
    assert not np.array_equal(np.asarray(part)[:, :20], original[:, :20])


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_impossible_strengths(pipeline, strength):
    with pytest.raises(ConfigError, match="strength is"):
        pipeline(picture(), RED, strength=strength)
