"""What comes back with a result: the file's own colours, its transparency, its metadata, a note."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from mgie.errors import ImageError
from mgie.images import Edit, Metadata, encode_image, open_photo, read_edits, with_edits

EDIT = Edit(model="toy", instruction='make "it" <red> & größer', expressive_instruction="All red.", seed=7)
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="Mine"/>'
    "</rdf:RDF></x:xmpmeta>"
)


def colours(width: int = 40, height: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def swapped_profile() -> bytes:
    """Returns a colour profile whose red and green are those of sRGB exchanged."""
    raw = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    raw = raw.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(
        b"sRGB built", b"swap built"
    )
    return raw.replace(b"rXYZ", b"tmp.").replace(b"gXYZ", b"rXYZ").replace(b"tmp.", b"gXYZ")


def stored(image: Image.Image, kind: str = "PNG", **options) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(file)


def metadata_of_a_camera() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2020:02:02 10:00:00"}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    return exif


def test_unchanged_pixels_are_the_files_own_in_any_colour_space() -> None:
    source = stored(Image.fromarray(colours()), icc_profile=swapped_profile())
    photo = open_photo(source)
    assert np.abs(np.asarray(photo.image, int) - colours()).max() > 50  # the profile was understood
    edited = np.asarray(photo.image).copy()
    edited[:16] = [250, 10, 10]
    result = photo.with_edit(Image.fromarray(edited))
    assert np.array_equal(np.asarray(result)[16:], colours()[16:])
    seen = open_photo(stored(result, icc_profile=photo.metadata.icc_profile)).image
    assert np.abs(np.asarray(seen, int)[:16] - [250, 10, 10]).max() <= 12  # out of gamut by a little


def test_transparency_is_kept_as_it_was() -> None:
    rgba = np.dstack([colours(), np.zeros((32, 40), np.uint8)])
    rgba[:, 20:, 3] = 130
    photo = open_photo(stored(Image.fromarray(rgba)))
    result = np.asarray(photo.with_edit(Image.new("RGB", (40, 32), "red")))
    assert np.array_equal(result[..., 3], rgba[..., 3])
    assert np.array_equal(result[:, :20], rgba[:, :20])  # colours that nobody sees too
    assert (result[:, 20:, :3] == [255, 0, 0]).all()
    assert np.array_equal(np.asarray(photo.with_edit(photo.image)), rgba)


def test_an_edit_of_another_size_is_refused() -> None:
    with pytest.raises(ImageError, match="expected the photo's"):
        open_photo(Image.fromarray(colours())).with_edit(Image.new("RGB", (20, 20)))


@pytest.mark.parametrize("box, size", [((80, 80), (80, 64)), ((20, 1000), (20, 16)), ((4000, 64), (80, 64))])
def test_resized_fits_into_a_box(box: tuple[int, int], size: tuple[int, int]) -> None:
    rgba = Image.fromarray(np.dstack([colours(), np.full((32, 40), 90, np.uint8)]))
    photo = open_photo(rgba).resized(*box)
    assert photo.image.size == photo.native.size == photo.alpha.size == size
    assert photo.with_edit(photo.image).getpixel((5, 5))[3] == 90


@pytest.mark.parametrize("box", [(10, 400), (400, 10), (200_000, 200_000)])
def test_impossible_sizes(box: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="expected 16 or more"):
        open_photo(Image.fromarray(colours())).resized(*box)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_metadata_come_back_without_what_is_no_longer_true(suffix: str) -> None:
    source = stored(
        *(Image.fromarray(colours()), "JPEG"), exif=metadata_of_a_camera(), xmp=XMP.encode(), dpi=(300, 300)
    )
    photo = open_photo(source)
    assert photo.image.size == (32, 40)  # upright
    profile = swapped_profile()
    metadata = Metadata(
        icc_profile=profile, exif=photo.metadata.exif, xmp=photo.metadata.xmp, dpi=photo.metadata.dpi
    )
    result = Image.open(io.BytesIO(encode_image(photo.image, suffix, metadata.noted([EDIT]))))
    exif = result.getexif()
    assert exif[ExifTags.Base.Make] == "Camera"
    assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2020:02:02 10:00:00"
    assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"
    assert ExifTags.Base.Orientation not in exif
    assert result.info["icc_profile"] == profile
    again = open_photo(result).metadata
    assert read_edits(again.xmp) == [EDIT]
    assert 'dc:title="Mine"' in again.xmp
    if suffix != ".webp":
        assert np.allclose(result.info["dpi"], 300, atol=0.01)
    stripped = Image.open(io.BytesIO(encode_image(photo.image, suffix, metadata.stripped())))
    assert stripped.info["icc_profile"] == profile
    assert not stripped.getexif() and not open_photo(stripped).metadata.xmp


def test_tiff_layout_is_not_taken_for_metadata() -> None:
    photo = open_photo(stored(Image.fromarray(colours()), "TIFF", tiffinfo={271: "Camera"}))
    tags = Image.open(io.BytesIO(encode_image(photo.image, ".jpg", photo.metadata))).getexif()
    assert dict(tags) == {271: "Camera"}


def test_damaged_metadata_are_left_out() -> None:
    image = Image.fromarray(colours())
    image.info |= {"exif": b"Exif\0\0nonsense", "xmp": b"\xff\xfe", "icc_profile": b"broken"}
    photo = open_photo(image)
    assert photo.metadata.exif is None and photo.metadata.icc_profile is None
    assert read_edits(photo.metadata.xmp) == []


def test_a_jpeg_shows_transparency_on_white_and_leaves_out_what_it_cannot_hold() -> None:
    clear = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    big = Metadata(exif=b"Exif\0\0" + bytes(70_000), xmp=XMP)
    result = Image.open(io.BytesIO(encode_image(clear, ".jpg", big)))
    assert result.getpixel((5, 5)) == (255, 255, 255)
    assert "exif" not in result.info and "dc:title" in result.info["xmp"].decode()


class TestNote:
    def test_replaces_an_earlier_note_and_keeps_the_rest(self) -> None:
        second = Edit(model="toy", instruction="b", expressive_instruction="B.", seed=8)
        packet = with_edits(with_edits(XMP, [EDIT]), [EDIT, second])
        assert read_edits(packet) == [EDIT, second]
        assert packet.count("<rdf:Description") == 2 and 'dc:title="Mine"' in packet
        assert "compositeWithTrainedAlgorithmicMedia" in packet

    @pytest.mark.parametrize("foreign", [None, "", "no packet", XMP + XMP])
    def test_stands_alone_where_there_is_no_packet_to_add_to(self, foreign: str | None) -> None:
        assert read_edits(with_edits(foreign, [EDIT])) == [EDIT]

    def test_is_well_formed(self) -> None:
        import xml.etree.ElementTree as ElementTree

        packet = with_edits(XMP, [EDIT])
        description = ElementTree.fromstring(packet)[0][1]
        assert (
            "größer"
            in __import__("json").loads(description.attrib["{urn:mgie:edits:1}edits"])[0]["instruction"]
        )

    @pytest.mark.parametrize(
        "xmp", [None, "", 'mgie:edits="[1, 2]"', 'mgie:edits="[{&quot;a&quot;: 1}]"', 'mgie:edits="x"']
    )
    def test_what_is_no_note_is_read_as_none(self, xmp: str | None) -> None:
        assert read_edits(xmp) == []

    def test_very_many_turns_keep_the_newest(self) -> None:
        edits = [
            Edit(model="m", instruction="x" * 500, expressive_instruction="", seed=i) for i in range(200)
        ]
        packet = with_edits(None, edits)
        assert len(packet.encode()) < 60_000
        assert read_edits(packet)[-1].seed == 199
