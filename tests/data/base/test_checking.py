import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from numclip_lightning.data.base.checking import check_images
from numclip_lightning.data.base.copies import copies_between
from numclip_lightning.data.base.labels import Label, LabelTable, read_labels
from numclip_lightning.errors import DataError
from numclip_lightning.images.folders import list_images
from numclip_lightning.images.loading import Reading, load_rgb
from support.fake_data import make_image, make_images

WHITE, RED, HALF = (255, 255, 255), (255, 0, 0), (128, 128, 128)


def unlabelled(*paths: str) -> LabelTable:
    return LabelTable(Label(path, (), None, i, Path("list.txt")) for i, path in enumerate(paths, start=1))


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA"])
def test_white_stays_white(tmp_path: Path, mode: str) -> None:
    pixels = load_rgb(save(tmp_path / "x.png", Image.new("RGB", (3, 2), "white").convert(mode)))
    assert pixels.shape == (2, 3, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == 255).all()


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    assert load_rgb(save(tmp_path / "rgba.png", image)).tolist() == [[list(WHITE), list(RED)]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 255, 255, 0, 0])
    palette.putpixel((1, 0), 1)
    assert load_rgb(save(tmp_path / "p.png", palette, transparency=0)).tolist() == [[list(WHITE), list(RED)]]
    assert load_rgb(save(tmp_path / "p.gif", palette, transparency=0)).tolist() == [[list(WHITE), list(RED)]]
    bytewise = save(tmp_path / "pb.png", palette, transparency=bytes([0, 255]))
    assert load_rgb(bytewise).tolist() == [[list(WHITE), list(RED)]]
    assert load_rgb(save(tmp_path / "opaque.png", palette)).tolist() == [[[0, 0, 255], list(RED)]]
    grey = save(tmp_path / "l.png", Image.new("L", (1, 1), 7), transparency=7)
    assert load_rgb(grey).tolist() == [[list(WHITE)]]


def test_cmyk(tmp_path: Path) -> None:
    cyan = save(tmp_path / "x.jpg", Image.new("CMYK", (8, 8), (255, 0, 0, 0)), quality=95)
    assert np.abs(load_rgb(cyan).astype(int) - (0, 255, 255)).max() < 8


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    pixels = load_rgb(save(tmp_path / f"x.{suffix}", Image.fromarray(values)))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (pixels == pixels[..., :1]).all()


def test_32_bits(tmp_path: Path) -> None:
    as_16 = save(tmp_path / "a.tif", Image.fromarray(np.array([[0, 65535]], dtype=np.int32)))
    assert load_rgb(as_16)[0, :, 0].tolist() == [0, 255]
    as_32 = save(tmp_path / "b.tif", Image.fromarray(np.array([[0, 2**31 - 1, 2**30]], dtype=np.int32)))
    assert load_rgb(as_32)[0, :, 0].tolist() == [0, 255, 128]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 16), "black")
    image.paste("white", (0, 0, 16, 16))  # left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: left becomes top
    pixels = load_rgb(save(tmp_path / "x.jpg", image, exif=exif))
    assert pixels.shape == (32, 16, 3)
    assert pixels[:12].min() > 240
    assert pixels[-12:].max() < 15


def test_unreadable_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.jpg doesn't exist"):
        load_rgb(tmp_path / "no.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"can't read image .*text\.jpg: it is text, not an image"):
        load_rgb(tmp_path / "text.jpg")
    floats = save(tmp_path / "f.tif", Image.fromarray(np.zeros((2, 2), dtype=np.float32)))
    with pytest.raises(DataError, match="has floating-point pixels, whose range is unknown; save it with 8 or 16 bits"):
        load_rgb(floats)
    with pytest.raises(DataError, match="floating-point"):
        check_images(unlabelled("f.tif"), tmp_path)


def test_list_images(tmp_path: Path) -> None:
    make_images(tmp_path, ["b.JPG".lower(), "a.png", "sub/c.webp", ".hidden.png"])
    (tmp_path / "notes.txt").write_text("x")
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.jpg"]
    assert [path.name for path in list_images(tmp_path, recursive=True)] == ["a.png", "b.jpg", "c.webp"]


def test_check_lists_every_fault(tmp_path: Path) -> None:
    names = [f"{i:02d}.png" for i in range(30)]
    images = make_images(tmp_path, names)
    for image in images[3:15]:
        image.unlink()
    images[20].write_text("no image")
    file = tmp_path / "list.txt"
    file.write_text("".join(f"{name} {i}\n" for i, name in enumerate(names)))
    with pytest.raises(DataError) as caught:
        check_images(read_labels(file), tmp_path)
    message = str(caught.value)
    assert message.startswith("12 of 30 images are missing and 1 unreadable (root is ")
    assert f"{file}:4: 03.png: missing" in message
    assert message.count(": missing") == 10
    assert "and 3 more" in message
    assert message.endswith(
        "Set root to the folder the list is relative to, restore the images, remove their lines, or leave them out "
        "with data.on_bad_image=skip."
    )
    assert [image.place for image in check_images(read_labels(file), tmp_path, skip=True)] == [*range(3, 15), 20]
    assert check_images(read_labels(file), tmp_path, "none") == []


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "bmp", "tif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_check_finds_truncated_images(tmp_path: Path, suffix: str, share: float) -> None:
    name = f"x.{suffix}"
    image = make_image(tmp_path / name, size=(200, 150))
    check_images(unlabelled(name), tmp_path)
    data = image.read_bytes()
    image.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(
        DataError, match=r"0 of 1 images are missing and 1 unreadable[^\n]*\n  list.txt:1: x\.\w+: unreadable"
    ):
        check_images(unlabelled(name), tmp_path)
    with pytest.raises(DataError, match="can't read image"):
        load_rgb(image)


def test_header_check_is_shallow(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.jpg", size=(200, 150))
    image.write_bytes(image.read_bytes()[:-3000])
    check_images(unlabelled("x.jpg"), tmp_path, "header")
    with pytest.raises(DataError, match="1 of 2 images are missing"):
        check_images(unlabelled("x.jpg", "y.jpg"), tmp_path, "header")


def test_two_entries_of_one_file(tmp_path: Path) -> None:
    make_images(tmp_path, ["a/x.jpg"])
    (tmp_path / "list.txt").write_text("a/x.jpg 3\na/../a/x.jpg 4\n")
    with pytest.raises(
        DataError, match=r"list.txt:2 \(a/../a/x.jpg\) and .*list.txt:1 \(a/x.jpg\) have different labels"
    ):
        check_images(read_labels(tmp_path / "list.txt"), tmp_path)


def test_what_is_assumed_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, top in (("a.png", 1000), ("b.png", 3000)):
        save(tmp_path / name, Image.fromarray(np.array([[0, top]], dtype=np.uint16)))
    pages = [Image.new("L", (4, 4), grey) for grey in (10, 200)]
    save(tmp_path / "c.tif", pages[0], save_all=True, append_images=pages[1:])
    check_images(unlabelled("a.png", "b.png", "c.tif"), tmp_path)
    assert "2 images of 16 bits have no pixel above 3000 (list.txt:2, b.png)" in caplog.text
    assert "set data.grey_range=[0,4095]" in caplog.text
    assert "1 images have several pages or frames, first list.txt:3 (c.tif has 2)" in caplog.text
    caplog.clear()
    # One bright image shows that sixteen bits are meant.
    save(tmp_path / "d.png", Image.fromarray(np.array([[0, 60000]], dtype=np.uint16)))
    check_images(unlabelled("a.png", "b.png", "d.png"), tmp_path)
    assert "16 bits" not in caplog.text


def test_twelve_bits_of_colour_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), 4000, dtype=np.uint16))
    check_images(unlabelled("a.png"), tmp_path)
    assert "1 images of 16 bits have no pixel above 4095 (list.txt:1, a.png), yet are read as 0 to 65535" in caplog.text
    assert "set data.grey_range=[0,4095]" in caplog.text
    caplog.clear()
    check_images(unlabelled("a.png"), tmp_path, reading=Reading(grey_range=(0, 4095)))
    assert not caplog.text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    Image.new("RGB", (4, 4)).save(tmp_path / "y.jpg")
    with pytest.raises(DataError, match=r"1 unreadable .*\n  list.txt:1: x.jpg: .*it is a pipe \(FIFO\), not an image"):
        check_images(unlabelled("x.jpg", "y.jpg"), tmp_path)
    with pytest.raises(DataError, match="a pipe"):
        load_rgb(tmp_path / "x.jpg")
    pipe = {tmp_path / "x.jpg": unlabelled("x.jpg")[0]}
    assert not copies_between(pipe, pipe)
    with pytest.raises(DataError, match=r"label file .*x.jpg is a pipe \(FIFO\), not a list; save the list as a file"):
        read_labels(tmp_path / "x.jpg")


def test_copies_with_other_labels_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_images(tmp_path, ["a.png", "c.png"])
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "list.txt").write_text("a.png 3\nb.png 4\nc.png 5\n")
    check_images(read_labels(tmp_path / "list.txt"), tmp_path)
    assert "1 images have the content of another image but another label" in caplog.text
    assert "(b.png, labelled 4)" in caplog.text


def test_checking_is_quick(tmp_path: Path) -> None:
    make_image(tmp_path / "x.jpg", size=(200, 200))
    names = [f"{i}.jpg" for i in range(1000)]
    for name in names:
        (tmp_path / name).hardlink_to(tmp_path / "x.jpg")
    start = time.perf_counter()
    check_images(unlabelled(*names), tmp_path)
    assert time.perf_counter() - start < 5
