"""Measure the coverage of 90 % intervals over random splits of held-out images; writes the table of docs/trust.md.

python scripts/measure_coverage.py [--root runs/coverage] [--page docs/trust.md]

Six short fits (counting and the faces of ../shared, NumCLIP, linear probe and CORAL), each tested; fits that are there
already are not repeated. Everything after that is computed from their prediction files.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from numclip_lightning.calibration import Calibration, Choices, LevelValues, calibrate, read_calibration
from numclip_lightning.cli import main
from numclip_lightning.report.answers import answers_of, read_answers, read_scale
from numclip_lightning.report.marks import check_page, update_page
from numclip_lightning.report.tables import markdown_grid

COVERAGE, SPLITS = 0.9, 20
KINDS = ("absolute", "normalised", "quantiles")
# As configs/benchmarks/collection.yaml trains them: 200 steps, with the rates that validation images chose.
STEPS = [
    "--data.num_workers=0", "--data.batch_size=32", "--trainer.max_epochs=-1", "--trainer.max_steps=200",
    "--trainer.val_check_interval=50", "--trainer.check_val_every_n_epoch=null", "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]  # fmt: skip
ONE_PASS = [
    *STEPS, "--trainer.max_epochs=1", "--trainer.max_steps=-1", "--trainer.val_check_interval=1.0",
    "--trainer.check_val_every_n_epoch=1",
]  # fmt: skip
DATASETS = {"counting": ["--config=configs/counting.yaml", "--data.num_train=2000"],
            "faces": ["--config=configs/faces_mini.yaml", "--data.check_images=none"]}  # fmt: skip
METHODS = {
    "NumCLIP": STEPS,
    "Linear probe": ["--config=configs/methods/linear_probe.yaml", *ONE_PASS],
    "CORAL": ["--config=configs/methods/coral.yaml", *STEPS, "--model.learning_rates.head=0.1"],
}


def fitted(root: Path, dataset: str, method: str) -> Path:
    """Return the run folder of a fit, which is made if it is not there."""
    place = root / dataset / method.lower().replace(" ", "-")
    done = sorted(place.glob("*/test_predictions.csv"))
    if not done:
        words = ["fit", *DATASETS[dataset], *METHODS[method], f"--trainer.default_root_dir={place}"]
        assert main([*words, "--test_after_fit=true", "--seed_everything=0", "--data.seed=0"]) == 0
        done = sorted(place.glob("*/test_predictions.csv"))
    return done[-1].parent


def shares(frame: pd.DataFrame, calibration: Calibration) -> tuple[float, float, float, float]:
    """Return coverage and mean width of intervals, coverage and mean size of sets."""
    answers = answers_of(frame, calibration.choices.by)
    lower, upper = calibration.intervals_of(answers)
    inside = (lower <= frame["target"]) & (frame["target"] <= upper)
    sets = calibration.sets_of(answers)
    assert sets is not None
    assert calibration.values is not None
    level = calibration.values.level_at(frame["target"].to_numpy())
    held = (sets[0] <= level) & (level <= sets[1])
    return (
        float(inside.mean()),
        float((upper - lower).mean()),
        float(held.mean()),
        float((sets[1] - sets[0] + 1).mean()),
    )


def measure(run: Path, dataset: str, method: str) -> list[dict[str, object]]:
    """Return the rows of a run."""
    frame, values = read_answers(run / "test_predictions.csv", targets=True), LevelValues.of(read_scale(run))
    rows: list[dict[str, object]] = []
    for kind in KINDS:
        found = []
        for split in range(SPLITS):
            order = np.random.default_rng(split).permutation(len(frame))
            known, new = (frame.iloc[part] for part in np.array_split(order, 2))
            choices = Choices(coverage=COVERAGE, intervals=kind)  # type: ignore[arg-type]
            found.append(shares(new, calibrate(answers_of(known), choices, values=values)))
        means, deviations = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
        validation = read_answers(run / "validation_predictions.csv", targets=True)
        fixed = shares(frame, calibrate(answers_of(validation), choices, values=values))
        rows.append({
            "Data": dataset, "Method": method, "Interval": kind,
            "Coverage, 20 splits": f"{100 * means[0]:.1f} % ± {100 * deviations[0]:.1f}",
            "Width": f"{means[1]:.1f}",
            "From validation": f"{100 * fixed[0]:.1f} %",
            "Sets": f"{100 * means[2]:.1f} % ± {100 * deviations[2]:.1f}" if kind == KINDS[0] else "",
            "Phrases in a set": f"{means[3]:.2f}" if kind == KINDS[0] else "",
        })  # fmt: skip
    stored = read_calibration(run)
    print(f"{dataset}, {method}: {len(frame)} held-out images, temperature {stored and stored.temperature}")
    return rows


def parse() -> argparse.Namespace:
    """Read the words of the shell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/coverage"))
    parser.add_argument("--page", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    chosen = parse()
    if chosen.page:
        check_page(chosen.page)
    table = [
        row
        for dataset in DATASETS
        for method in METHODS
        for row in measure(fitted(chosen.root, dataset, method), dataset, method)
    ]
    text = markdown_grid(pd.DataFrame(table))
    print(text)
    report = chosen.root / "report.md"
    report.write_text(f"{text}\n", encoding="utf-8")
    if chosen.page:
        update_page(chosen.page, report)
