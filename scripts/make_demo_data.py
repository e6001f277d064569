"""Generate the images that `make demo` trains on: discs whose count, 0 to 9, is the target."""

import argparse
import csv
import random
from pathlib import Path

from PIL import Image, ImageDraw

SIZE = 32
SPLITS = {"train": 1200, "val": 200, "test": 300}


def draw(count: int, rng: random.Random) -> Image.Image:
    """Draw a number of bright discs, which may touch, on a dark background with some grain."""
    background = tuple(rng.randrange(60) for _ in range(3))
    image = Image.new("RGB", (SIZE, SIZE), background)
    pen = ImageDraw.Draw(image)
    for _ in range(count):
        x, y, radius = rng.randrange(3, SIZE - 3), rng.randrange(3, SIZE - 3), rng.uniform(1.5, 3)
        colour = tuple(rng.randrange(140, 256) for _ in range(3))
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return image


def main() -> None:
    """Write the images and a list for each split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write")
    folder: Path = parser.parse_args().folder
    rng = random.Random(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for split, number in SPLITS.items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "count"])
            for index in range(number):
                count = rng.randrange(10)
                name = f"images/{split}_{index:04d}.png"
                draw(count, rng).save(folder / name)
                writer.writerow([name, count])


if __name__ == "__main__":
    main()
