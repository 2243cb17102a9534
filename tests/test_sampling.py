import pytest
import torch

from mgie.errors import ConfigError
from mgie.sampling import Sampling, guide


@pytest.fixture
def predictions():
    return torch.randn(3, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()


@pytest.mark.parametrize(("s_text", "s_image"), [(7.5, 1.5), (4.0, 1.0), (3.0, 0.5)])
def test_guide_is_equation_3(predictions, s_text, s_image):
    text, image, uncond = predictions
    expected = uncond + s_image * (image - uncond) + s_text * (text - image)
    torch.testing.assert_close(guide(text, image, uncond, s_text, s_image), expected)


def test_the_unconditional_prediction_cancels_at_one(predictions):
    text, image, uncond = predictions
    torch.testing.assert_close(guide(text, image, None, 7.5, 1.0), guide(text, image, uncond, 7.5, 1.0))


def test_guide_keeps_what_all_predictions_agree_on(predictions):
    text = predictions[0]
    torch.testing.assert_close(guide(text, text, text, 7.5, 1.5), text)


@pytest.mark.parametrize(
    ("s_text", "s_image", "asked"),
    [
        (7.5, 1.5, (True, True)),
        (7.5, 1.0, (True, False)),
        (1.0, 1.5, (False, False)),
        (0.0, 1.0, (False, False)),
    ],
)
def test_only_needed_predictions_are_made(s_text, s_image, asked):
    sampling = Sampling(num_inference_steps=5, guidance_scale=s_text, image_guidance_scale=s_image)
    assert (sampling.needs_image, sampling.needs_uncond) == asked


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_inference_steps", 0), ("guidance_scale", -1.0), ("image_guidance_scale", float("nan"))],
)
def test_impossible_settings_are_refused(name, value):
    settings = {"num_inference_steps": 5, "guidance_scale": 7.5, "image_guidance_scale": 1.5, name: value}
    with pytest.raises(ConfigError, match=f"{name} is"):
        Sampling(**settings)
