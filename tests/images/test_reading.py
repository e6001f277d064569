"""Images as cameras, scanners and other programs write them."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin

from numclip_lightning.errors import DataError
from numclip_lightning.images.folders import list_images, scan_folder
from numclip_lightning.images.loading import Reading, inspect_image, load_rgb, rgb_of
from support.fake_data import make_image


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def exif_of(entries: list[tuple[int, int, int, bytes]]) -> bytes:
    """Write EXIF by hand: (tag, type, count, four bytes of value) for each entry, big-endian."""
    body = b"".join(struct.pack(">HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08" + struct.pack(">H", len(entries)) + body + b"\x00" * 4


UPRIGHT = (0x0112, 3, 1, struct.pack(">HH", 6, 0))
ODD = {
    "a resolution that is text": (0x011A, 2, 4, b"300\x00"),
    "a resolution beyond the end": (0x011A, 5, 1, struct.pack(">I", 9999)),
    "an unknown type": (0x011A, 99, 1, b"\x00\x00\x00\x01"),
    "a software tag of numbers": (0x0131, 3, 1, struct.pack(">HH", 7, 0)),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_odd_exif_tag_does_not_matter(odd: tuple[int, int, int, bytes], tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 16), "black")
    image.paste("white", (0, 0, 16, 16))  # left half; turned clockwise, it becomes the top
    path = save(tmp_path / "x.jpg", image, exif=exif_of(sorted([UPRIGHT, odd])))
    assert inspect_image(path, Reading(), decode=True).pages == 1
    pixels = load_rgb(path)
    assert pixels.shape == (32, 16, 3)
    assert pixels[:12].min() > 240
    assert pixels[-12:].max() < 15


@pytest.mark.parametrize("damage", [b"Exif\x00\x00garbage!", b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff"])
def test_damaged_exif_is_ignored(damage: bytes, tmp_path: Path) -> None:
    path = save(tmp_path / "x.jpg", Image.new("RGB", (32, 16), "white"), exif=damage)
    inspect_image(path, Reading(), decode=True)
    assert load_rgb(path).shape == (16, 32, 3)


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(turn: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    path = save(tmp_path / "x.png", Image.fromarray(pixels), exif=exif)
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(load_rgb(path), expected)


class TestGreyOfMoreThanEightBits:
    def test_twelve_bits_in_sixteen(self, tmp_path: Path) -> None:
        path = save(tmp_path / "x.png", Image.fromarray(np.array([[0, 2048, 4095]], dtype=np.uint16)))
        assert inspect_image(path, Reading(), decode=True).peak == 4095
        assert load_rgb(path)[0, :, 0].tolist() == [0, 8, 16]
        reading = Reading(grey_range=(0, 4095))
        assert load_rgb(path, reading)[0, :, 0].tolist() == [0, 128, 255]
        assert inspect_image(path, reading, decode=True).peak is None

    def test_signed_pixels_need_a_range(self, tmp_path: Path) -> None:
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[339] = 2  # signed
        pixels = np.array([[-1024, 1000, 3071]], dtype=np.int16)
        image = Image.frombytes("I;16", (3, 1), pixels.tobytes())
        path = save(tmp_path / "x.tif", image, tiffinfo=tags)
        with Image.open(path) as again:
            assert np.asarray(again).min() == -1024
        with pytest.raises(DataError, match=r"negative \(down to -1024\) pixels, whose range is unknown; .*grey_range"):
            load_rgb(path)
        assert load_rgb(path, Reading(grey_range=(-1024, 3071)))[0, :, 0].tolist() == [0, 126, 255]

    def test_floats_with_a_range(self, tmp_path: Path) -> None:
        path = save(tmp_path / "x.tif", Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32)))
        assert load_rgb(path, Reading(grey_range=(0, 1)))[0, :, 0].tolist() == [0, 128, 255]
        with pytest.raises(DataError, match="floating-point pixels"):
            load_rgb(path)


class TestColourOfSixteenBits:
    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_twelve_bits_in_sixteen(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"x.{suffix}"
        red_first = np.array([[[4095, 2048, 0], [0, 1024, 4095]]], dtype=np.uint16)
        cv2.imwrite(str(path), red_first[:, :, ::-1])
        assert inspect_image(path, Reading(), decode=True).peak == 4095
        assert load_rgb(path).tolist() == [[[15, 8, 0], [0, 4, 15]]]
        reading = Reading(grey_range=(0, 4095))
        assert inspect_image(path, reading, decode=True).peak is None
        assert load_rgb(path, reading).tolist() == [[[255, 128, 0], [0, 64, 255]]]
        assert rgb_of(Image.open(path), reading).tolist() == load_rgb(path, reading).tolist()

    def test_transparency_keeps_its_own_range(self, tmp_path: Path) -> None:
        path = tmp_path / "x.png"
        cv2.imwrite(str(path), np.array([[[0, 0, 4095, 65535], [0, 0, 0, 0]]], dtype=np.uint16))
        assert inspect_image(path, Reading(), decode=True).peak == 4095
        assert load_rgb(path, Reading(grey_range=(0, 4095))).tolist() == [[[255, 0, 0], [255, 255, 255]]]

    def test_eight_bits_have_no_range(self, tmp_path: Path) -> None:
        path = save(tmp_path / "x.png", Image.new("RGB", (2, 2), (200, 100, 0)))
        assert load_rgb(path, Reading(grey_range=(0, 4095)))[0, 0].tolist() == [200, 100, 0]


def test_pages_are_counted(tmp_path: Path) -> None:
    pages = [Image.new("L", (4, 4), grey) for grey in (10, 200, 250)]
    path = save(tmp_path / "x.tif", pages[0], save_all=True, append_images=pages[1:])
    assert inspect_image(path, Reading(), decode=True).pages == 3
    assert load_rgb(path).max() == 10


class TestManyPixels:
    def test_a_jpeg_is_read_smaller(self, tmp_path: Path) -> None:
        path = make_image(tmp_path / "x.jpg", size=(200, 100))
        assert load_rgb(path, Reading(max_pixels=200 * 100)).shape == (100, 200, 3)
        for most, divisor in ((19_999, 2), (5_000, 2), (4_999, 4), (400, 8)):
            reading = Reading(max_pixels=most)
            assert inspect_image(path, reading, decode=True).shrunk == divisor
            assert load_rgb(path, reading).shape[:2] == (-(-100 // divisor), 200 // divisor)

    def test_others_are_refused(self, tmp_path: Path) -> None:
        path = make_image(tmp_path / "x.png", size=(200, 100))
        message = r"200 x 100 pixels, more than max_pixels=19999; make it smaller, or set data\.max_pixels=20000"
        with pytest.raises(DataError, match=message):
            load_rgb(path, Reading(max_pixels=19_999))

    def test_pillows_own_limit_is_not_touched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        assert load_rgb(make_image(tmp_path / "x.png")).shape == (16, 16, 3)
        assert Image.MAX_IMAGE_PIXELS == 10
        assert not ImageFile.LOAD_TRUNCATED_IMAGES


class TestFolders:
    def test_hidden_folders_are_left_out_and_links_followed(self, tmp_path: Path) -> None:
        for name in ("pool/p.png", "new/a.png", "new/.hidden/h.png", "new/.h.png", "new/sub/b.jfif.png"):
            make_image(tmp_path / name)
        (tmp_path / "new" / "linked").symlink_to(tmp_path / "pool")
        (tmp_path / "new" / "sub" / "circle").symlink_to(tmp_path / "new")
        (tmp_path / "new" / "sub" / "twice").symlink_to(tmp_path / "new" / "linked")
        (tmp_path / "new" / "notes.txt").write_text("x")
        scan = scan_folder(tmp_path / "new", recursive=True)
        names = [path.relative_to(tmp_path / "new").as_posix() for path in scan.images]
        assert names == ["a.png", "linked/p.png", "sub/b.jfif.png"]
        assert scan.left_out == "1 file with other suffixes (.txt 1) and 2 hidden files or folders"

    @pytest.mark.parametrize("suffix", ["jfif", "jpe", "avif"])
    def test_other_suffixes_of_images(self, suffix: str, tmp_path: Path) -> None:
        image = Image.new("RGB", (8, 8), "white")
        path = save(tmp_path / f"x.{suffix}", image, format="AVIF" if suffix == "avif" else "JPEG")
        assert list_images(tmp_path) == [path]
        assert load_rgb(path).min() > 250

    def test_photographs_of_phones_need_an_extra(self, tmp_path: Path) -> None:
        (tmp_path / "x.heic").write_bytes(b"\x00" * 40)
        try:
            import pillow_heif  # noqa: F401
        except ImportError:
            with pytest.raises(DataError, match=r"need pillow-heif: pip install 'numclip-lightning\[heic\]'"):
                load_rgb(tmp_path / "x.heic")
        assert list_images(tmp_path) == [tmp_path / "x.heic"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page or other XML, not an image"),
        (b"anything", r"it is text, not an image \('anything'\)"),
        (b"\x01\x02anything", "cannot identify image file"),
    ],
)
def test_what_only_has_the_name_of_an_image_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(DataError, match=f"can't read image .*x.jpg: .*{message}"):
        load_rgb(tmp_path / "x.jpg")
