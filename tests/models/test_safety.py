import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mgie.errors import CheckpointError, SafetyError
from mgie.models.safety import SafetyChecker
from tests.conftest import picture

THRESHOLD = "concept_embeds_weights"


def save_checker(folder, flags):
    """Writes a checker of toy size that flags every picture, or none: a cosine lies above -2, below 2."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**sizes, "image_size": 32, "patch_size": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = StableDiffusionSafetyChecker(
            CLIPConfig(vision_config=vision, text_config=sizes, projection_dim=8)
        )
    torch.nn.init.constant_(getattr(model, THRESHOLD), -2.0 if flags else 2.0)
    model.save_pretrained(folder)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("flags", [True, False])
def test_pictures_are_flagged_and_stay_as_they_are(tmp_path, flags):
    checker = SafetyChecker.from_pretrained(str(save_checker(tmp_path / "checker", flags)))
    images = [picture(), picture(64, 40)]
    before = [image.tobytes() for image in images]
    assert checker.check(images) == [flags, flags]
    assert [image.tobytes() for image in images] == before
    if flags:
        with pytest.raises(SafetyError, match="flags 2 of 2 results"):
            checker.refuse_flagged(images)
    else:
        checker.refuse_flagged(images)


def test_one_flagged_picture_does_not_flag_its_neighbours(tmp_path):
    checker = SafetyChecker.from_pretrained(str(save_checker(tmp_path / "checker", False)))
    images = [picture(), picture(64, 40).rotate(90)]
    pixels = checker.processor(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        seen = checker.model.visual_projection(checker.model.vision_model(pixels)[1])
        checker.model.concept_embeds[:] = seen[1]
        between = (1 + torch.cosine_similarity(seen[0], seen[1], dim=0)) / 2
        checker.model.concept_embeds_weights[:] = between
    assert checker.check(images) == [False, True]


def test_a_checker_that_is_not_whole_is_refused(tmp_path):
    folder = save_checker(tmp_path / "checker", False)
    with pytest.raises(CheckpointError, match="nowhere"):
        SafetyChecker.from_pretrained("nowhere")
    file = folder / "model.safetensors"
    weights = load_file(file)
    save_file({name: value for name, value in weights.items() if name != THRESHOLD}, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=THRESHOLD):
        SafetyChecker.from_pretrained(str(folder))
    save_file(weights, file, {"format": "pt"})
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="safety checker"):
        SafetyChecker.from_pretrained(str(folder))


def test_weights_as_older_versions_wrote_them_are_read(tmp_path):
    folder = save_checker(tmp_path / "checker", True)
    file = folder / "model.safetensors"
    older = {
        name
        if "vision_model.vision_model." in name
        else name.replace("vision_model.", "vision_model.vision_model."): v
        for name, v in load_file(file).items()
    }
    older["vision_model.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    save_file(older, file, {"format": "pt"})
    assert SafetyChecker.from_pretrained(str(folder)).check([picture()]) == [True]
