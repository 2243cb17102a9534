"""Reading, fitting, returning and writing pictures."""

import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFilter, JpegImagePlugin, PngImagePlugin

from mgie.errors import ConfigError, ImageError
from mgie.images import WorkingSize, open_image, resize, return_to_native, save_image

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def photo(width: int = 320, height: int = 240) -> Image.Image:
    """Returns a made picture with sky, hard-edged things and fine texture."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width] / max(width, height)
    picture = np.stack([0.35 + 0.3 * y, 0.5 + 0.1 * x, 0.8 - 0.5 * y], axis=-1)
    for _ in range(40):
        centre_x, centre_y, radius = rng.uniform(0, [1, 0.75, 0.1])
        disc = np.hypot(x - centre_x, y - centre_y) < radius
        grain = 0.12 * np.sin(rng.uniform(150, 300) * x + rng.uniform(150, 300) * y)
        picture[disc] = (rng.uniform(0.1, 0.9, 3) + grain[..., None])[disc]
    return Image.fromarray(np.uint8(picture.clip(0, 1) * 255))


def unit(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


def decoded(picture: np.ndarray, size: tuple[int, int], noise: float = 0.0) -> np.ndarray:
    """Returns the picture at working size, as soft and as noisy as a model's."""
    small = Image.fromarray(np.uint8(np.rint(picture.clip(0, 1) * 255))).resize(
        size, Image.Resampling.LANCZOS
    )
    soft = unit(small.resize((size[0] * 2 // 3, size[1] * 2 // 3), Image.Resampling.LANCZOS).resize(size))
    return (soft + noise * np.random.default_rng(0).standard_normal(soft.shape)).clip(0, 1).astype(np.float32)


def gradient(picture: np.ndarray) -> float:
    luminance = picture @ LUMA
    return float(np.abs(np.diff(luminance, axis=0)).mean() + np.abs(np.diff(luminance, axis=1)).mean())


def sharpness(picture: np.ndarray) -> float:
    return gradient(picture) / float((picture @ LUMA).std())


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((one - other) ** 2) + 1e-12))


def edit(image: Image.Image, target: np.ndarray, noise: float = 0.03) -> tuple[np.ndarray, np.ndarray]:
    """Returns the result of the way back for an edit with this exact target, and the merely enlarged edit."""
    size = WorkingSize(max_pixels=128 * 128, multiple=16, upscale=True).fit(*image.size)
    edited = decoded(target, size, noise)
    enlarged = Image.fromarray(np.uint8(edited * 255)).resize(image.size, Image.Resampling.BICUBIC)
    return unit(return_to_native(image, decoded(unit(image), size), edited)), unit(enlarged)


class TestOpen:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_upright(self, tmp_path: Path, orientation: int) -> None:
        upright = Image.new("RGB", (48, 32), "white")
        upright.paste("red", (0, 0, 8, 8))
        undo = {
            2: 0,
            3: 3,
            4: 1,
            5: 5,
            6: 2,
            7: 6,
            8: 4,
        }  # PIL transpositions that the camera would have made
        stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(tmp_path / "a.png", exif=exif)
        image = open_image(tmp_path / "a.png")
        assert image.size == (48, 32)
        assert image.getpixel((4, 4)) == (255, 0, 0)
        assert image.getpixel((40, 28)) == (255, 255, 255)

    @pytest.mark.parametrize(
        "mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV", "RGBA", "LA", "PA", "RGBX"]
    )
    def test_modes(self, mode: str) -> None:
        grey = Image.new("RGB", (20, 20), "white")
        grey.paste("black", (0, 0, 10, 20))
        image = open_image(grey.convert("LA").convert("PA") if mode == "PA" else grey.convert(mode))
        assert image.mode == "RGB"
        assert image.getpixel((4, 4)) == (0, 0, 0)
        assert np.asarray(image)[4, 15].min() > 250

    @pytest.mark.parametrize(
        "dtype, top",
        [(np.uint16, 65535), (np.int32, 65535), (np.int32, 255), (np.float32, 1), (np.float32, 3e5)],
    )
    def test_deep_grey_keeps_its_steps(self, tmp_path: Path, dtype: type, top: float) -> None:
        levels = np.tile(np.linspace(0, top, 64), (16, 1)).astype(dtype)
        Image.fromarray(levels).save(tmp_path / "deep.tiff")
        red = np.asarray(open_image(tmp_path / "deep.tiff"))[0, :, 0]
        assert red[0] == 0 and red[-1] == 255
        assert np.abs(np.diff(red.astype(int)) - 4).max() <= 1

    def test_negative_float_is_stretched(self) -> None:
        image = open_image(Image.fromarray(np.linspace(-2, 2, 400, dtype=np.float32).reshape(20, 20)))
        assert image.getextrema()[0] == (0, 255)

    def test_transparent(self, tmp_path: Path) -> None:
        rgba = np.zeros((16, 16, 4), np.uint8)
        rgba[:, :8] = [200, 10, 10, 1]
        rgba[:, 8:] = [3, 200, 3, 0]
        Image.fromarray(rgba).save(tmp_path / "a.png")
        image = open_image(tmp_path / "a.png")
        assert image.getpixel((2, 2)) == (200, 10, 10)
        assert image.getpixel((12, 2)) == (255, 255, 255)

    def test_transparent_colour_of_a_palette(self, tmp_path: Path) -> None:
        palette = Image.new("P", (16, 16), 1)
        palette.putpalette([0, 0, 0, 10, 20, 30, 90, 90, 90])
        palette.paste(2, (0, 0, 8, 16))
        palette.save(tmp_path / "a.png", transparency=2)
        image = open_image(tmp_path / "a.png")
        assert image.getpixel((2, 2)) == (255, 255, 255)
        assert image.getpixel((12, 2)) == (10, 20, 30)

    def test_first_frame(self, tmp_path: Path) -> None:
        frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        assert open_image(tmp_path / "a.gif").getpixel((3, 3)) == (255, 0, 0)

    def test_profile_is_applied_and_dropped(self) -> None:
        lab = ImageCms.createProfile("LAB")
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image = photo(32, 32)
        for profile in (srgb, b"broken", ImageCms.ImageCmsProfile(lab).tobytes()):
            image.info["icc_profile"] = profile
            opened = open_image(image)
            assert opened.info == {}
            assert opened.tobytes() == image.tobytes()

    def test_does_not_change_what_it_was_given(self) -> None:
        image = photo(32, 32)
        image.info["comment"] = "mine"
        open_image(image)
        assert image.info == {"comment": "mine"}

    @pytest.mark.parametrize("size", [(1, 1), (15, 400), (400, 15)])
    def test_tiny(self, size: tuple[int, int]) -> None:
        with pytest.raises(ImageError, match=f"{size[0]}x{size[1]} pixels; expected at least 16"):
            open_image(Image.new("RGB", size))

    def test_missing_folder_text_and_empty(self, tmp_path: Path) -> None:
        (tmp_path / "text.jpg").write_text("dear diary\n" * 100)
        (tmp_path / "empty.png").touch()
        for name, reason in (
            ("no.png", "does not exist"),
            ("", "folder"),
            ("text.jpg", "not a"),
            ("empty.png", "not a"),
        ):
            with pytest.raises(ImageError, match=reason) as caught:
                open_image(tmp_path / name)
            assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)

    def test_name_that_no_file_can_have(self) -> None:
        for name in ("a" * 5000, "a\0b"):
            with pytest.raises(ImageError):
                open_image(name)

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
    def test_truncated(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a.{suffix}"
        photo().save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ImageError) as caught:
            open_image(path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("side", [10_001, 30_000])
    def test_bomb_is_refused_before_it_is_decoded(
        self, tmp_path: Path, side: int, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        header = io.BytesIO()
        Image.new("1", (16, 16)).save(header, "PNG")
        raw = bytearray(header.getvalue())
        raw[16:24] = side.to_bytes(4, "big") * 2
        raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
        (tmp_path / "bomb.png").write_bytes(raw)
        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("decoded"))
        with pytest.raises(ImageError, match="at most 100 megapixels"):
            open_image(tmp_path / "bomb.png")
        assert not recwarn


class TestWorkingSize:
    FULL = WorkingSize(max_pixels=512 * 512, multiple=8, upscale=False)
    TINY = WorkingSize(max_pixels=128 * 128, multiple=16, upscale=True, max_aspect=2)

    @pytest.mark.parametrize(
        "rule, native, working",
        [
            (FULL, (110, 77), (104, 72)),
            (FULL, (512, 512), (512, 512)),
            (FULL, (4000, 4000), (512, 512)),
            (FULL, (1536, 1024), (624, 416)),
            (TINY, (16, 16), (128, 128)),
            (TINY, (600, 400), (144, 96)),
            (TINY, (400, 600), (96, 144)),
            (TINY, (8000, 16), (160, 80)),
        ],
    )
    def test_known(self, rule: WorkingSize, native: tuple[int, int], working: tuple[int, int]) -> None:
        assert rule.fit(*native) == working

    def test_rules_hold_for_all_sizes(self) -> None:
        rng = np.random.default_rng(0)
        for width, height in np.exp(rng.uniform(np.log(16), np.log(8000), (2000, 2))).astype(int).tolist():
            w, h = self.FULL.fit(width, height)
            assert w % 8 == h % 8 == 0 and w * h <= 512 * 512 and w <= width and h <= height
            w, h = self.TINY.fit(width, height)
            assert w % 16 == h % 16 == 0 and w * h <= 128 * 128 and 0.5 <= w / h <= 2

    def test_impossible_rules(self) -> None:
        for wrong in ({"max_pixels": 10}, {"multiple": 0}, {"max_aspect": 0.5}):
            with pytest.raises(ConfigError, match=next(iter(wrong))):
                WorkingSize(**{"max_pixels": 4096, "multiple": 8, "upscale": True, **wrong})

    def test_resize_is_antialiased(self) -> None:
        checks = Image.fromarray(np.uint8(np.indices((256, 256)).sum(0) % 2 * 255)).convert("RGB")
        assert np.ptp(np.asarray(resize(checks, (64, 64)), int)) <= 4


class TestReturnToNative:
    def test_nothing_edited(self) -> None:
        for size in ((320, 240), (16, 16), (40, 800)):
            image = photo(*size)
            working = decoded(unit(image), (128, 112))
            assert np.abs(unit(return_to_native(image, working, working)) - unit(image)).max() <= 1 / 255

    def test_flat_picture(self) -> None:
        image = Image.new("RGB", (64, 48), (128, 128, 128))
        flat = np.full((96, 128, 3), 0.5, np.float32)
        result = return_to_native(image, flat, np.full_like(flat, 0.25))
        assert np.abs(np.asarray(result, int) - 64).max() <= 2

    @pytest.mark.parametrize(
        "name", ["grey", "red", "darker", "invert", "night", "contrast", "fog", "vignette", "sepia"]
    )
    def test_tone_changes_keep_the_detail(self, name: str) -> None:
        image = photo(640, 480)
        native = unit(image)
        y, x = np.mgrid[:480, :640] / 640 - np.array([0.375, 0.5])[:, None, None]
        grey = np.repeat((native @ LUMA)[..., None], 3, axis=2)
        target = {
            "grey": grey,
            "red": 0.4 * native + 0.6 * grey * [1.3, 0.35, 0.3],
            "darker": 0.55 * native,
            "invert": 1 - native,
            "night": native**1.5 * [0.25, 0.32, 0.6],
            "contrast": 0.5 + 1.4 * (native - 0.5),
            "fog": native + (0.85 - native) * (0.5 - 0.8 * y)[..., None],
            "vignette": native * (1 - 1.2 * np.maximum(np.hypot(x, y) - 0.15, 0))[..., None],
            "sepia": grey * [1.07, 0.85, 0.62],
        }[name].clip(0, 1)
        result, enlarged = edit(image, target)
        assert sharpness(result) >= 0.95 * sharpness(target)
        assert psnr(result, target) >= max(33, psnr(enlarged, target) + 6)

    def test_pasted_content_hides_what_was_there(self) -> None:
        image = photo(640, 480)
        target = unit(image).copy()
        target[150:330, 200:420] = [0.85, 0.1, 0.1]
        result, enlarged = edit(image, target, noise=0.02)
        assert gradient(result[170:310, 220:400]) < 0.1 * gradient(unit(image)[170:310, 220:400])
        assert np.abs(result[170:310, 220:400].mean((0, 1)) - [0.85, 0.1, 0.1]).max() < 0.03
        assert psnr(result[:120], target[:120]) > 38  # and the rest is the original
        assert psnr(result, target) > psnr(enlarged, target) + 3

    def test_border(self) -> None:
        image = photo(640, 480)
        target = unit(image).copy()
        target[:45] = target[-45:] = target[:, :45] = target[:, -45:] = [0.1, 0.1, 0.6]
        result, enlarged = edit(image, target)
        assert psnr(result, target) > psnr(enlarged, target) + 3
        assert sharpness(result[80:-80, 80:-80]) > 0.9 * sharpness(target[80:-80, 80:-80])
        assert np.abs(result[:35] - [0.1, 0.1, 0.6]).mean() < 0.04

    def test_blur_is_blurred(self) -> None:
        image = photo(640, 480)
        target = unit(
            image.resize((40, 30), Image.Resampling.BOX).resize((640, 480), Image.Resampling.BICUBIC)
        )
        result, _ = edit(image, target)
        assert gradient(result) < 0.3 * gradient(unit(image))
        assert psnr(result, target) > 30

    @pytest.mark.parametrize("noise", [0.0, 0.01])
    def test_a_slight_blur_is_no_change_of_tone(self, noise: float) -> None:
        image = photo(640, 480)
        target = unit(image.filter(ImageFilter.GaussianBlur(0.007 * 480)))
        result, _ = edit(image, target, noise)
        assert sharpness(result) < (sharpness(unit(image)) + sharpness(target)) / 2

    def test_strips_leave_no_seams(self, monkeypatch: pytest.MonkeyPatch) -> None:
        image = photo()
        target = 0.7 * unit(image)
        target[60:120, 60:120] = 0.9
        whole, _ = edit(image, target)
        monkeypatch.setattr("mgie.images.native._STRIP_PIXELS", 320 * 7)
        strips, _ = edit(image, target)
        assert np.abs(whole - strips).max() <= 1 / 255

    def test_what_an_edit_of_a_part_left_alone_is_the_original(self) -> None:
        image = photo(640, 480)
        native, region = unit(image), np.zeros((480, 640), bool)
        region[150:330, 200:420] = True
        grey = np.repeat((native @ LUMA)[..., None], 3, axis=2) * [1.2, 0.3, 0.3]
        pasted = np.broadcast_to(np.float32([0.85, 0.8, 0.1]), native.shape)
        drift = 0.01 * np.sin(np.mgrid[:480, :640].sum(0) / 90)[..., None]  # as of a diffusion model
        for content in (grey, pasted):
            target = np.where(region[..., None], content, native)
            result, _ = edit(image, (target + drift).clip(0, 1), noise=0.01)
            same = (result == native).all(-1)
            assert same[~region].mean() > 0.95
            assert psnr(result[~region], native[~region]) > 40
            assert np.abs(result - target)[160:320, 210:410].mean() < 0.06

    def test_what_keeps_its_colour_in_a_grey_picture_is_the_original(self) -> None:
        """A smooth field of colour transforms cannot follow the outline, and errs on both sides of it."""
        image = photo(320, 240)
        native = unit(image)
        away = np.hypot(*(np.mgrid[:240, :320] - np.array([120, 150])[:, None, None]))[..., None]
        result, _ = edit(image, np.where(away < 60, native, (native @ LUMA)[..., None]), noise=0)
        same = (result == native).all(-1, keepdims=True)
        assert same[away < 48].mean() > 0.99
        assert np.ptp(result, axis=-1)[away[..., 0] > 72].mean() < 0.03

    @pytest.mark.parametrize("change", ["grey", "inverted"])
    def test_a_part_that_changes_colour_keeps_its_detail(self, change: str) -> None:
        """The colours in there fit no smooth field of transforms that fits those around, too."""
        image = photo(640, 480)
        grain = np.random.default_rng(3).uniform(-0.15, 0.15, (240, 320, 3)).repeat(2, 0).repeat(2, 1)
        native = (unit(image) + grain).clip(0, 1).astype(np.float32)
        image = Image.fromarray(np.uint8(native * 255))
        away = np.hypot(*(np.mgrid[:480, :640] - np.array([240, 300])[:, None, None]))
        content = (native @ LUMA)[..., None] if change == "grey" else 1 - native
        target = np.where(away[..., None] < 150, content, native)
        result, _ = edit(image, target, noise=0.01)
        assert np.abs(result - target)[away < 140].mean() < 0.015
        assert np.abs(result - unit(image))[away > 170].mean() < 0.001

    def test_an_outline_follows_the_edge_in_the_original(self) -> None:
        """A model knows how much of a place of its latents an edit changes, not which pixels of it."""
        native = unit(photo(640, 480))
        away = np.hypot(*(np.mgrid[:480, :640] - np.array([240, 320])[:, None, None]))
        inside = (away < 110)[..., None]
        native = np.where(inside, np.float32([0.7, 0.3, 0.3]), native)
        image = Image.fromarray(np.uint8(native * 255))
        smeared = Image.fromarray(np.uint8(255 * inside[..., 0])).filter(ImageFilter.GaussianBlur(24))
        result, _ = edit(image, native + unit(smeared)[..., None] * native * [-0.7, -0.5, 0.2], noise=0)
        change = np.abs(result - unit(image)).mean(-1)
        assert change[(away > 112) & (away < 130)].mean() < 0.03 * change[away < 110].mean()

    def test_all_may_be_taken_from_the_edit(self) -> None:
        image = photo(320, 240)
        working = decoded(unit(image), (128, 96))
        drifted = (working + 0.008).clip(0, 1)
        drifted[40:60, 50:70] = 0.9
        kept = return_to_native(image, working, drifted)
        taken = return_to_native(image, working, drifted, keep_unchanged=False)
        assert kept.tobytes() != taken.tobytes()
        corner = (slice(0, 60), slice(0, 80))
        assert np.array_equal(np.asarray(kept)[corner], np.asarray(image)[corner])
        assert 0.005 < float((unit(taken) - unit(image))[corner].mean()) < 0.011

    def test_nothing_of_the_original_shows_through_new_content(self) -> None:
        image = photo(320, 240)
        native = unit(image)
        blocks = native.reshape(10, 24, 10, 32, 3).mean((1, 3)).repeat(24, 0).repeat(32, 1)
        result, _ = edit(image, blocks, noise=0)
        alike = np.abs(blocks - native).max(-1) < 0.01  # by chance
        assert alike.sum() > 1000 and (result == native).all(-1)[alike].mean() < 0.2

    def test_faint_edits_of_the_whole_picture_are_no_drift(self) -> None:
        image = photo(320, 240)
        working = decoded(unit(image), (128, 96))
        result = unit(return_to_native(image, working, working * 0.95))
        assert np.abs(result - 0.95 * unit(image)).mean() < 0.006

    def test_a_mask_is_exact_outside(self) -> None:
        image, mask = photo(320, 240), Image.new("L", (320, 240))
        mask.paste(255, (100, 60, 260, 200))
        working = decoded(unit(image), (128, 96))
        result = np.asarray(return_to_native(image, working, 1 - working, mask=mask))
        outside = np.asarray(mask) == 0
        assert np.array_equal(result[outside], np.asarray(image)[outside])
        assert np.abs(result[90:170, 130:230] / 255 - (1 - unit(image)[90:170, 130:230])).mean() < 0.06

    def test_strength_moves_every_pixel_evenly(self) -> None:
        image = photo(320, 240)
        working = decoded(unit(image), (128, 96))
        target = (working * [1, 0.4, 0.4]).astype(np.float32)
        steps = [
            np.asarray(return_to_native(image, working, target, strength=strength), int)
            for strength in (0, 0.25, 0.5, 0.75, 1)
        ]
        assert np.array_equal(steps[0], np.asarray(image))
        assert np.array_equal(steps[4], np.asarray(return_to_native(image, working, target)))
        moves = np.stack([step - steps[0] for step in steps])
        assert (np.diff(moves * np.sign(moves[-1]), axis=0) >= 0).all()
        assert np.abs(2 * moves[2] - moves[4]).max() <= 2

    def test_wrong_arrays(self) -> None:
        image, good = photo(32, 32), np.zeros((16, 16, 3), np.float32)
        for bad in (good[..., 0], good[:8], np.zeros((16, 16, 4), np.float32), np.full_like(good, np.nan)):
            with pytest.raises(ImageError, match="expected"):
                return_to_native(image, good, bad)


class TestSave:
    @pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "a.webp"])
    def test_same_bytes_and_no_metadata(self, tmp_path: Path, name: str) -> None:
        image = photo()
        save_image(image, tmp_path / name)
        first = (tmp_path / name).read_bytes()
        image.info |= {"comment": b"when", "icc_profile": b"x" * 200, "exif": b"Exif\0\0"}
        save_image(image, tmp_path / name)
        assert (tmp_path / name).read_bytes() == first
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert psnr(unit(open_image(tmp_path / name)), unit(image)) > 30

    def test_png_is_lossless_and_jpeg_keeps_colour_resolution(self, tmp_path: Path) -> None:
        save_image(photo(), tmp_path / "a.png")
        assert open_image(tmp_path / "a.png").tobytes() == photo().tobytes()
        save_image(photo(), tmp_path / "a.jpg")
        with Image.open(tmp_path / "a.jpg") as image:
            assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4

    @pytest.mark.parametrize("name", ["a.bmp", "a", "a.gif"])
    def test_unknown_suffix(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ImageError, match=r"\.png, \.jpg, \.jpeg, \.webp"):
            save_image(photo(), tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_unwritable(self, tmp_path: Path) -> None:
        (tmp_path / "folder.png").mkdir()
        for path in (
            tmp_path / "missing" / "a.png",
            tmp_path / "folder.png",
            Path("/proc/a.png"),
            "a" * 300 + ".png",
        ):
            with pytest.raises(ImageError, match="cannot be written") as caught:
                save_image(photo(), path)
            assert "\n" not in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]

    @pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are of POSIX")
    def test_full_disk_leaves_the_old_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(b"old")
        script = (
            "import resource, sys; from PIL import Image; from mgie.errors import ImageError\n"
            "from mgie.images import save_image\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
            "try: save_image(Image.effect_noise((200, 200), 90), sys.argv[1])\n"
            "except ImageError: sys.exit(7)\n"
        )
        assert (
            subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.png")], check=False).returncode
            == 7
        )
        assert (tmp_path / "a.png").read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_no_torch() -> None:
    code = "import mgie.images, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
