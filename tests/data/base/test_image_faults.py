"""Faults of image files, one test each: what is read gives the right pixels, what is refused says where and why."""

import os
import resource
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from numclip_lightning.data.base.checking import check_images
from numclip_lightning.data.base.labels import read_labels
from numclip_lightning.errors import DataError
from numclip_lightning.images.loading import Reading, load_rgb
from support.rights import as_nobody, shared_folder

RED = (220, 30, 40)
Make = Callable[[Path], object]


def red(mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> Image.Image:
    return Image.new("RGB", size, RED).convert(mode)


def jpeg(path: Path) -> bytes:
    red(size=(64, 64)).save(path, "JPEG")
    return path.read_bytes()


def cut(path: Path) -> None:
    content = jpeg(path)
    path.write_bytes(content[: len(content) // 2])


def huge_header(path: Path) -> None:
    """A PNG of 60 bytes that claims 20,000 x 20,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def loop(path: Path) -> None:
    other = path.with_name("other.jpg")
    other.symlink_to(path)
    path.symlink_to(other)


REFUSED: dict[str, tuple[str, Make, str]] = {
    "zero bytes": ("a.jpg", lambda p: p.write_bytes(b""), "the file is empty"),
    "blanks alone": ("a.jpg", lambda p: p.write_bytes(b" \n" * 40), "the file is empty"),
    "truncated": ("a.jpg", cut, "[Tt]runcated"),
    "truncated in the header": ("a.png", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"), "unreadable"),
    "html": ("a.jpg", lambda p: p.write_bytes(b"<!DOCTYPE html><html></html>"), "a web page or other XML"),
    "svg": ("a.jpg", lambda p: p.write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "a web page or other XML"),
    "pdf": ("a.jpg", lambda p: p.write_bytes(b"%PDF-1.7\n1 0 obj\n"), "it is a PDF, not an image"),
    "zip": ("a.jpg", lambda p: p.write_bytes(b"PK\x03\x04" + b"\0" * 40), "it is a ZIP archive, not an image"),
    "text": ("a.jpg", lambda p: p.write_bytes(b"404: not found"), "it is text, not an image .'404: not found'"),
    "git lfs": ("a.jpg", lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1"), "git lfs pull"),
    "folder": ("a.jpg", lambda p: p.mkdir(), "it is a folder, not an image"),
    "pipe": ("a.jpg", lambda p: os.mkfifo(p), "it is a pipe"),
    "link loop": ("a.jpg", loop, "unreadable: .*symbolic links"),
    "broken link": ("a.jpg", lambda p: p.symlink_to(p.with_name("gone.jpg")), "missing"),
    "float tiff": ("a.tif", lambda p: red("F").save(p), "floating-point pixels.*data.grey_range"),
    "huge header": ("a.png", huge_header, "20000 x 20000 pixels, more than max_pixels"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_bad_file_is_refused_with_its_line_and_reason(fault: str, tmp_path: Path) -> None:
    name, make, reason = REFUSED[fault]
    make(tmp_path / name)
    (tmp_path / "list.csv").write_text(f"path,age\n{name},31\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=rf"list\.csv:2: a\.\w+: .*{reason}") as caught:
        check_images(read_labels(tmp_path / "list.csv"), tmp_path)
    assert "remove their lines, or leave them out" in str(caught.value)
    # In KiB; decoded, the header alone would ask for 1.2 GB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    # A loading process that meets it later says the same.
    with pytest.raises(DataError, match=r"a\.\w+"):
        load_rgb(tmp_path / name)


def test_infinite_pixels_have_no_range(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), np.inf, np.float32)).save(tmp_path / "a.tif")
    (tmp_path / "list.csv").write_text("path,age\na.tif,31\n")
    with pytest.raises(DataError, match=r"list\.csv:2: a\.tif: .*not finite; correct the image"):
        check_images(read_labels(tmp_path / "list.csv"), tmp_path, "full", Reading(grey_range=(0, 1)))


def test_without_permission_the_file_is_named() -> None:
    with shared_folder() as folder:
        red().save(folder / "a.png")
        (folder / "a.png").chmod(0)
        (folder / "list.csv").write_text("path,age\na.png,31\n")
        labels = read_labels(folder / "list.csv")
        with as_nobody(), pytest.raises(DataError, match=r"list\.csv:2: a\.png: unreadable: .*Permission denied"):
            check_images(labels, folder)
        (folder / "list.csv").chmod(0)
        with as_nobody(), pytest.raises(DataError, match=r"can't read label file .*list\.csv: Permission denied"):
            read_labels(folder / "list.csv")


def clear_palette(path: Path) -> None:
    image = Image.new("P", (8, 6), 1)
    image.putpalette([*RED, 0, 0, 0])
    image.save(path, transparency=1)


def sixteen_bits(path: Path) -> None:
    Image.fromarray(np.full((6, 8), 200 * 257, np.uint16)).save(path)


def linked(path: Path) -> None:
    red().save(path.with_name("b.png"))
    path.symlink_to("b.png")


def turned(path: Path) -> None:
    """A stripe at the left, which orientation 6 puts at the top; the sizes in EXIF are wrong."""
    image = Image.new("RGB", (16, 8))
    image.paste(RED, (0, 0, 8, 8))
    exif = image.getexif()
    exif[0x0112], exif[0x0100], exif[0x0101] = 6, 9999, 1
    image.save(path, exif=exif)


READ: dict[str, tuple[str, Make, tuple[int, int, int], tuple[int, int]]] = {
    "1 x 1": ("a.png", lambda p: red(size=(1, 1)).save(p), RED, (1, 1)),
    "1 x 5000": ("a.png", lambda p: red(size=(1, 5000)).save(p), RED, (5000, 1)),
    "animated gif": (
        "a.gif",
        lambda p: red().save(p, save_all=True, append_images=[Image.new("RGB", (8, 6), "blue")]),
        RED,
        (6, 8),
    ),
    "animated webp": (
        "a.webp",
        lambda p: red().save(p, lossless=True, save_all=True, append_images=[Image.new("RGB", (8, 6), "blue")]),
        RED,
        (6, 8),
    ),
    "multi-page tiff": (
        "a.tif",
        lambda p: red().save(p, save_all=True, append_images=[Image.new("RGB", (8, 6), "blue")]),
        RED,
        (6, 8),
    ),
    "cmyk": ("a.tif", lambda p: red("CMYK").save(p), RED, (6, 8)),
    "16 bits": ("a.png", sixteen_bits, (200, 200, 200), (6, 8)),
    "1 bit": ("a.png", lambda p: Image.new("1", (8, 6), 1).save(p), (255, 255, 255), (6, 8)),
    "clear palette": ("a.png", clear_palette, (255, 255, 255), (6, 8)),
    "clear grey": ("a.png", lambda p: Image.new("LA", (8, 6), (7, 0)).save(p), (255, 255, 255), (6, 8)),
    "wrong exif": ("a.png", turned, RED, (16, 8)),
    "mpo": (
        "a.mpo.jpg",
        lambda p: red().save(p, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 6), "blue")]),
        RED,
        (6, 8),
    ),
    "png named jpg": ("a.jpg", lambda p: red().save(p, "PNG"), RED, (6, 8)),
    "two suffixes": ("a.jpg.png", lambda p: red().save(p), RED, (6, 8)),
    "capital suffix": ("a.PNG", lambda p: red().save(p), RED, (6, 8)),
    "line break": ("a\nb.png", lambda p: red().save(p), RED, (6, 8)),
    "zero width": ("a\u200bb.png", lambda p: red().save(p), RED, (6, 8)),
    "percent": ("a%2Cb.png", lambda p: red().save(p), RED, (6, 8)),
    "comma": ("a, b.png", lambda p: red().save(p), RED, (6, 8)),
    "quotes": ('a"b".png', lambda p: red().save(p), RED, (6, 8)),
    "formula": ("=cmd.png", lambda p: red().save(p), RED, (6, 8)),
    "255 bytes": ("a" * 251 + ".png", lambda p: red().save(p), RED, (6, 8)),
    "composed": ("\u00e9.png", lambda p: red().save(p), RED, (6, 8)),
    "decomposed": ("e\u0301.png", lambda p: red().save(p), RED, (6, 8)),
    "linked": ("a.png", linked, RED, (6, 8)),
}


@pytest.mark.parametrize("kind", READ)
def test_an_odd_file_is_read_right(kind: str, tmp_path: Path) -> None:
    name, make, colour, shape = READ[kind]
    make(tmp_path / name)
    quoted = name.replace('"', '""')
    (tmp_path / "list.csv").write_text(f'path,age\n"{quoted}",31\n')
    table = read_labels(tmp_path / "list.csv")
    assert [(label.path, label.target) for label in table] == [(name, 31)]
    check_images(table, tmp_path)
    pixels = load_rgb(tmp_path / name)
    assert pixels.shape == (*shape, 3)
    # JPEGs keep colours within a few grey levels.
    np.testing.assert_allclose(pixels[0, 0], colour, atol=4)


@pytest.mark.parametrize(
    ("there", "listed"),
    [
        ("IMG_1.JPG", "img_1.jpg"),
        (unicodedata.normalize("NFD", "Zoë.png"), "Zoë.png"),
        ("ab.png", "a\u200bb.png"),
        ("a\ufeffb.png", "ab.png"),
        ("a,b.png", "a%2Cb.png"),
        ("a%20b.png", "a b.png"),
        ("a.jpeg", "a.jpg"),
    ],
)
def test_another_spelling_is_suggested_and_never_taken(there: str, listed: str, tmp_path: Path) -> None:
    red().save(tmp_path / there, "PNG")
    (tmp_path / "list.csv").write_text(f"path,age\n{listed},31\n")
    with pytest.raises(DataError, match=r"list\.csv:2: .* missing; did you mean") as caught:
        check_images(read_labels(tmp_path / "list.csv"), tmp_path)
    assert ascii(there)[1:-1] in str(caught.value) or there in str(caught.value)
    # What differs is seen.
    assert "\u200b" not in str(caught.value)


def test_a_name_that_is_too_long_is_not_printed_whole(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path,age\n{'x' * 3000}.jpg,31\n")
    with pytest.raises(DataError, match=r"list\.csv:2: x+") as caught:
        check_images(read_labels(tmp_path / "list.csv"), tmp_path)
    assert len(str(caught.value)) < 1000
