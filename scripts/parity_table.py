"""Exports of several methods beside the module that they were made from: the table of docs/deploy.md.

python scripts/parity_table.py FOLDER

Each row is `numclip fit` with a short training and `numclip export --check true` in all formats; a row that is there
already is not made again.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from numclip_lightning.deploy.formats import FORMATS
from numclip_lightning.deploy.parity import RESULTS

# One epoch of the shipped configuration: what is compared is arithmetic, not skill.
DATA = {
    "counting": ["configs/counting.yaml", "--data.num_train=640", "--data.num_val=200"],
    "faces": ["configs/faces_mini.yaml", "--data.num_shots=4"],
}
METHODS = {
    "NumCLIP": None,
    "NumCLIPPlus": "numclip_plus",
    "RankingAwareCLIP": "rankingaware",
    "CORAL": "coral",
    "GDA": "gda",
}


def numclip(*words: str) -> None:
    """Run the command as a user does."""
    subprocess.run([sys.executable, "-m", "numclip_lightning", *words], check=True)


def measure(place: Path, data: str, method: str) -> list[dict[str, Any]]:
    """Return the rows of `parity.json` for a method on some data."""
    if not (place / "exported" / RESULTS).is_file():
        config, *flags = DATA[data]
        overlay = ["--config", f"configs/methods/{METHODS[method]}.yaml"] if METHODS[method] else []
        numclip("fit", "--config", config, *overlay, *flags, "--trainer.max_epochs=1",
                f"--trainer.default_root_dir={place}")  # fmt: skip
        run = next(place.glob("*-fit-*"))
        numclip("export", f"--run={run}", f"--format={','.join(FORMATS)}", f"--output={place / 'exported'}",
                "--check=true", "--most_images=120")  # fmt: skip
    found: list[dict[str, Any]] = json.loads((place / "exported" / RESULTS).read_text(encoding="utf-8"))
    return found


def main(folder: str) -> None:
    """Measure all rows and print the table."""
    print(f"| data | method | {' | '.join(FORMATS)} | MAE | MAE of int8 |")
    print("| --- " * (len(FORMATS) + 4) + "|")
    for data in DATA:
        for method in METHODS:
            rows = {row["format"]: row for row in measure(Path(folder, data, method), data, method)}
            shares = [f"{rows[name]['share']:.1e}" for name in FORMATS]
            errors = [f"{rows[name]['mae']:.3g}" for name in ("module", "onnx-int8")]
            print(f"| {' | '.join([data, method, *shares, *errors])} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
