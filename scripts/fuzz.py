"""Feeds odd lists and damaged images to their readers: whatever comes, an answer or an error in words.

    python scripts/fuzz.py --minutes 60            # both readers
    python scripts/fuzz.py --cases 5000 --only lists

Prints how many cases were run, and how many of them were read. A failure ends it with the smallest input that fails.
"""

import argparse
import io
import logging
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from numclip_lightning.data.base import long_lists
from numclip_lightning.data.base.labels import read_labels
from numclip_lightning.errors import DataError
from numclip_lightning.images.loading import Reading, inspect_image, load_rgb
from numclip_lightning.images.opening import UNREADABLE

_WORDS = [
    "path", "age", "a.jpg", "b.png", "c d.tif", "x/y.webp", "31", "3.5", "3,5", "1930s", "nan", "-inf", "", " ", "\t",
    ",", ";", "|", "\n", "\r\n", "\r", '"', '""', "'", "#", "sep=;", "\ufeff", "\u200b", "\u2028", "\0", "{", "}",
    "[", "]", ":", '{"path": "a.png", "age": 3}', "1e999", "0x1f", "é", "=1+1", "1,200,000", "2024-05-01", "\\", "..",
    "9" * 400,
]  # fmt: skip
_NAMES = ("list.csv", "list.txt", "list.tsv", "list.json", "list.jsonl")

plain_lists = st.lists(st.sampled_from(_WORDS), max_size=40).map("".join)
rows = st.lists(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4).map(",".join), max_size=8).map("\n".join)


def _joined(entries: list[tuple[int, str, str]], delimiter: str, end: str, header: bool) -> str:
    lines = [delimiter.join(("path", "age", "note"))] * header
    lines += [delimiter.join((f"{number}.jpg", age, note)[: 2 + header]) for number, age, note in entries]
    return end.join(lines) + end


# Nearly sound: one word of them is odd now and then.
_ages = st.one_of(st.sampled_from(["31", "3.5", "7", "-2", "1e1"]), st.integers(0, 99).map(str))
entries = st.lists(
    st.tuples(st.integers(0, 30), _ages, st.sampled_from(["x", "", "y z", '"q"', '"a,b"', "é"])),
    min_size=1, max_size=8, unique_by=lambda entry: entry[0],
)  # fmt: skip
sound = st.builds(
    _joined, entries, st.sampled_from([",", "\t", ";", "|"]), st.sampled_from(["\n", "\r\n"]), st.booleans()
)
nearly = st.builds(
    lambda text, place, word: text[: place % len(text)] + word + text[place % len(text) :],
    sound, st.integers(0, 10**6), st.sampled_from(_WORDS),
)  # fmt: skip
lists = st.one_of(
    sound.map(str.encode), nearly.map(lambda text: text.encode("utf-8", "surrogatepass")),
    plain_lists.map(str.encode), rows.map(str.encode), rows.map("path,age\n{}".format).map(str.encode),
    rows.map(lambda text: text.encode("utf-16")), st.binary(max_size=200),
)  # fmt: skip


def _samples() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    images = {mode: Image.fromarray(pixels).convert(mode) for mode in ("RGB", "L", "P", "1", "CMYK", "RGBA", "I", "F")}
    found = []
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "MPO"):
        for image in images.values():
            content = io.BytesIO()
            try:
                image.save(content, kind)
            except (OSError, ValueError, KeyError):
                continue
            found.append(content.getvalue())
    return found


damage = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6)
images = st.tuples(st.sampled_from(_samples()), damage, st.one_of(st.none(), st.integers(0, 2000)))


def try_list(content: bytes, name: str, folder: Path) -> str:
    """Read a list by lines and by columns.

    Returns:
        `read` or `refused`, the same both ways.

    Raises:
        AssertionError: If the two differ.
        Exception: Whatever is no DataError.
    """
    (folder / name).write_bytes(content)
    answers: list[tuple[str, object]] = []
    least = long_lists.LEAST_BYTES
    for long_lists.LEAST_BYTES in (10**9, 0):
        try:
            answers.append(("read", list(read_labels(folder / name))))
        except DataError as error:
            if len(str(error)) > 3000:
                raise AssertionError("the message is too long to be read") from error
            answers.append(("refused", str(error)))
    long_lists.LEAST_BYTES = least
    assert answers[0] == answers[1], "lines and columns differ"
    return str(answers[0][0])


def try_image(case: tuple[bytes, list[tuple[int, int]], int | None], folder: Path) -> str:
    """Load a damaged image.

    Returns:
        `read` or `refused`; the check before a run says the same.
    """
    content = bytearray(case[0])
    for place, value in case[1]:
        content[place % len(content)] = value
    file, reading = folder / "image.png", Reading(max_pixels=10**6, grey_range=(0, 255))
    file.write_bytes(bytes(content[: case[2]]))
    with suppress(*UNREADABLE):
        inspect_image(file, reading, decode=True)
    try:
        pixels = load_rgb(file, reading)
    except DataError:
        return "refused"
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    return "read"


def fuzz(what: str, cases: int, *, seed: bool = True) -> Counter[str]:
    """Run a number of cases.

    Args:
        what: `lists` or `images`.
        cases: How many.
        seed: Whether they are the same each time.

    Returns:
        How many were read and refused.
    """
    counts: Counter[str] = Counter()
    options: Any = {
        "max_examples": cases, "deadline": None, "database": None, "derandomize": seed,
        "suppress_health_check": list(HealthCheck),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        @settings(**options)
        @given(lists, st.sampled_from(_NAMES))
        def of_lists(content: bytes, name: str) -> None:
            counts[try_list(content, name, folder)] += 1

        @settings(**options)
        @given(images)
        def of_images(case: tuple[bytes, list[tuple[int, int]], int | None]) -> None:
            counts[try_image(case, folder)] += 1

        runs: dict[str, Callable[[], None]] = {"lists": of_lists, "images": of_images}
        runs[what]()
    return counts


def main() -> None:
    """Parse the words and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, help="go on so long, with other cases each time")
    parser.add_argument("--cases", type=int, default=1000, help="cases of each reader, in each round")
    parser.add_argument("--only", choices=("lists", "images"))
    arguments = parser.parse_args()
    # Of what is assumed of lists, and of Pillow.
    logging.disable()
    warnings.simplefilter("ignore")
    end = time.monotonic() + 60 * (arguments.minutes or 0)
    total: dict[str, Counter[str]] = {"lists": Counter(), "images": Counter()}
    while True:
        for what in [arguments.only] if arguments.only else total:
            total[what] += fuzz(what, arguments.cases, seed=not arguments.minutes)
            # After each round, so that what was run is known whenever it ends.
            words = f"{total[what]['read']:,} read, {total[what]['refused']:,} refused in words"
            print(f"{what}: {total[what].total():,} cases, {words}", flush=True)
        if time.monotonic() > end:
            break


if __name__ == "__main__":
    main()
