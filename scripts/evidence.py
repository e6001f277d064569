"""Compare the methods on the embedded counting task, and on the shared faces where they are; write docs/evidence.md.

Every run is `numclip fit` (or `test` for what learns nothing) on a shipped configuration and overlay, in a folder of
its own below runs/evidence. A run whose folder holds test metrics is not repeated, so the command can be stopped at any
time and called again.
"""

import argparse
import json
import shutil
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from numclip_lightning.cli import main as numclip

RUNS = Path("runs/evidence")
PAGE = Path("docs/evidence.md")
SHOTS, SEEDS = (0, 1, 4, 16), (0, 1, 2)


class Task(NamedTuple):
    """A dataset and the words that set it up."""

    title: str
    words: tuple[str, ...]
    needs: str | None = None


TASKS = {
    "counting": Task(
        "Counting 1 to 60 things, 2,000 training scenes, embedded CLIP",
        ("--config=configs/counting.yaml", "--data.num_train=2000"),
    ),
    "faces": Task(
        "Ages of faces, 2,133 training images, face-mini-clip",
        ("--config=configs/faces_mini.yaml", "--data.check_images=none"),
        "../shared/data/faces",
    ),
}
# Everything but zero-shot is trained under the optimiser, schedule and rates of the task's configuration.
METHODS: dict[str, tuple[str, ...]] = {
    "Zero-shot, phrases": ("--config=configs/methods/zero_shot.yaml",),
    "Zero-shot, numbers": ("--config=configs/methods/zero_shot.yaml", "--model.names=numbers"),
    "CoOp, numbers": ("--config=configs/methods/coop.yaml",),
    "CoOp, numbers, image tower tuned": ("--config=configs/methods/coop_ordinal.yaml",),
    "OrdinalCLIP": ("--config=configs/methods/ordinalclip.yaml",),
    "NumCLIP, no ranking loss": ("--model.weighting=none",),
    "NumCLIP, `logits`": ("--model.weighting=logits",),
    "NumCLIP, `similarities`": ("--model.weighting=similarities",),
    "NumCLIP, `logits`, published head": ("--model.weighting=logits", "--model.head=published"),
    "NumCLIP, `similarities`, published head": ("--model.weighting=similarities", "--model.head=published"),
}


class Run(NamedTuple):
    """One cell of a table for one seed."""

    task: str
    method: str
    shots: int
    seed: int

    @property
    def learns(self) -> bool:
        """Whether there is anything to fit."""
        return not self.method.startswith("Zero-shot")

    @property
    def folder(self) -> Path:
        """Where its run folder goes."""
        method = "".join(letter if letter.isalnum() else "-" for letter in self.method)
        return RUNS / self.task / method / f"shots{self.shots}-seed{self.seed}"

    def metrics(self) -> dict[str, float] | None:
        """Return its test metrics, or None where it hasn't finished."""
        for file in self.folder.glob("*/metrics.json"):
            metrics: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
            if "test_mae" in metrics:
                return metrics
        return None

    def do(self) -> None:
        """Run it, from the start."""
        shutil.rmtree(self.folder, ignore_errors=True)
        words = [*TASKS[self.task].words, *METHODS[self.method], f"--data.num_shots={self.shots}"]
        words += [f"--data.seed={self.seed}", f"--seed_everything={self.seed}"]
        words += [f"--trainer.default_root_dir={self.folder}", "--trainer.enable_progress_bar=false"]
        words += ["--trainer.enable_model_summary=false"]
        code = numclip(["fit", *words, "--test_after_fit=true"] if self.learns else ["test", *words])
        if code:
            raise SystemExit(f"{self} failed")
        for checkpoint in self.folder.rglob("*.ckpt"):
            checkpoint.unlink()


def plan(tasks: Sequence[str], shots: Sequence[int], seeds: Sequence[int]) -> Iterator[Run]:
    """Yield all runs, seed by seed, so that a stopped evening has whole rows."""
    for seed in seeds:
        for task in tasks:
            for number in shots:
                for method in METHODS:
                    run = Run(task, method, number, seed)
                    # What learns nothing is the same however many images there are to learn from.
                    if run.learns or number == 0:
                        yield run


def cell(task: str, method: str, shots: int, key: str) -> str:
    """Return mean ± standard deviation over the seeds that have been run."""
    runs = [Run(task, method, shots, seed) for seed in SEEDS]
    found = [metrics[key] for run in runs if (metrics := run.metrics())]
    if not found:
        return "" if not runs[0].learns else "not run"
    spread = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
    missing = "" if len(found) == len(SEEDS) else f" ({len(found)} of {len(SEEDS)} seeds)"
    return f"{statistics.mean(found):.2f}{spread}{missing}"


def table(task: str, key: str) -> str:
    """Return a Markdown table of one metric: a row for each method, a column for each number of shots."""
    names = ["all images" if number == 0 else f"{number} per value" for number in SHOTS]
    rows = [f"| {method} | {' | '.join(cell(task, method, n, key) for n in SHOTS)} |" for method in METHODS]
    return "\n".join([f"| | {' | '.join(names)} |", "| --- " * (len(SHOTS) + 1) + "|", *rows])


def page() -> str:
    """Return the page: what was run, and the tables."""
    parts = [
        "# Evidence",
        "Made by `python scripts/evidence.py`, which can be stopped and called again. Test metrics, mean ± standard "
        "deviation over the seeds 0, 1 and 2, each of which draws images, shots and initial weights anew. The "
        "checkpoint with the lowest validation error is tested. All trained methods have the backbone, epochs, "
        "optimiser and rates of the task's configuration, but for what their overlay in configs/methods sets: CoOp has "
        "its own optimiser, and random contexts their own rate.",
    ]
    for name, task in TASKS.items():
        parts += [f"## {task.title}", "Mean absolute error:", table(name, "test_mae")]
        parts += ["Accuracy over the phrases:", table(name, "test_acc")]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Do what is missing and write the page after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--shots", nargs="+", type=int, choices=SHOTS, default=SHOTS)
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    arguments = parser.parse_args()
    here = [name for name in arguments.tasks if (needs := TASKS[name].needs) is None or Path(needs).is_dir()]
    runs = list(plan(here, arguments.shots, arguments.seeds))
    for number, run in enumerate(runs, start=1):
        print(f"{number} of {len(runs)}: {run}", flush=True)
        if run.metrics() is None:
            run.do()
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
