"""The demo, made small: its table equals a slower measurement; picture and runs are in the folders that it names."""

import re
import statistics
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, mean_absolute_error
from torch import Tensor

import demo
from numclip_lightning.data.counting.captions import level_of, phrases
from numclip_lightning.data.counting.scenes import draw_counts, make_scenes, paint
from numclip_lightning.methods import NumCLIP
from numclip_lightning.models import load_clip
from numclip_lightning.models.clip import CLIPBackbone
from support.command import metrics_of

# Ten batches to train on: fewer, and Lightning warns that none would be logged.
TRAIN, TEST = 640, 40
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
# The middle of each level of configs/counting.yaml.
MIDDLES = [1, 2, 3.5, 6.5, 12.5, 24, 46]
Figures = tuple[float, float]


class Demo:
    """A demo that has run: its output and its folder."""

    def __init__(self, folder: Path, printed: str) -> None:
        self.folder = folder
        self.printed = printed

    def row(self, name: str) -> Figures:
        """Accuracy and MAE in the table's line of that name."""
        (line,) = re.findall(rf"^{re.escape(name)}.*? +([\d.]+) +([\d.]+)$", self.printed, re.MULTILINE)
        return float(line[0]), float(line[1])

    def path(self, name: str) -> Path:
        return Path(re.findall(rf"^{name}: +(.+)$", self.printed, re.MULTILINE)[0])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder, capture = tmp_path_factory.mktemp("demo"), pytest.MonkeyPatch()
    lines: list[str] = []
    with capture.context() as patch:
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        sizes = [f"--num-train={TRAIN}", "--num-val=16", f"--num-test={TEST}", "--epochs=1"]
        demo.main([f"--folder={folder}", *sizes])
    return Demo(folder, "\n".join(lines))


def counts(split: str, number: int) -> list[int]:
    drawn: list[int] = draw_counts(0, split, number).tolist()  # type: ignore[arg-type]
    return drawn


@pytest.fixture(scope="module")
def images() -> Tensor:
    """The test scenes, normalised by hand."""
    painted = np.stack([paint(scene) for scene in make_scenes(0, "test", range(TEST), counts("test", TEST))])
    return torch.tensor((painted / 255 - MEAN) / STD, dtype=torch.float32).permute(0, 3, 1, 2)


def measured(levels: list[int], values: npt.ArrayLike) -> Figures:
    true = counts("test", TEST)
    return accuracy_score([level_of(n) for n in true], levels), mean_absolute_error(true, np.asarray(values))


def similarities(clip: CLIPBackbone, images: Tensor, texts: list[str]) -> Tensor:
    with torch.inference_mode():
        clip.eval()
        return F.normalize(clip.encode_image(images), dim=-1) @ F.normalize(clip.encode_text(texts), dim=-1).T


def test_the_row_of_zero_shot_with_phrases(shown: Demo, images: Tensor) -> None:
    texts = [f"a picture of {phrase}." for phrase in phrases()]
    levels = similarities(load_clip("mini"), images, texts).argmax(dim=1).tolist()
    expected = measured(levels, [MIDDLES[level] for level in levels])
    assert shown.row("zero-shot with phrases") == pytest.approx(expected, abs=0.0051)


def test_the_row_of_zero_shot_with_numbers(shown: Demo, images: Tensor) -> None:
    clip = load_clip("mini")
    logits = similarities(clip, images, [f"a picture of {n}." for n in range(1, 61)]) * clip.logit_scale.exp().item()
    values = logits.argmax(dim=1) + 1
    # The level with the largest sum of its numbers' probabilities.
    sums = [[0.0] * 7 for _ in range(TEST)]
    for row, probabilities in zip(sums, logits.double().softmax(dim=1).tolist(), strict=True):
        for number, probability in enumerate(probabilities, 1):
            row[level_of(number)] += probability
    expected = measured([row.index(max(row)) for row in sums], values)
    assert shown.row("zero-shot with numbers") == pytest.approx(expected, abs=0.0051)


def test_the_row_of_guessing(shown: Demo) -> None:
    train = counts("train", TRAIN)
    commonest = Counter(level_of(n) for n in train).most_common(1)[0][0]
    expected = measured([commonest] * TEST, [statistics.median(train)] * TEST)
    assert shown.row("guessing (the commonest phrase, the median)") == pytest.approx(expected, abs=0.0051)


def test_the_row_of_numclip(shown: Demo, images: Tensor) -> None:
    """The kept checkpoint has the results of the table on the test scenes."""
    metrics = metrics_of(shown.path("run folder"))
    method = NumCLIP.load_from_checkpoint(metrics["best_checkpoint"]).eval()
    with torch.inference_mode():
        output = method(images)
    expected = measured(output.logits.argmax(dim=1).tolist(), output.value)
    assert shown.row("NumCLIP") == pytest.approx(expected, abs=0.0051)


def test_picture_and_runs_are_in_the_folder(shown: Demo) -> None:
    assert shown.path("picture") == shown.folder / "demo.png"
    assert shown.path("picture").read_bytes().startswith(b"\x89PNG")
    assert shown.path("run folder").parent == shown.folder
    assert len(list(shown.folder.iterdir())) == 4


def test_every_step_is_printed_as_a_command(shown: Demo) -> None:
    commands = re.findall(r"^\$ numclip (\w+) --config=\S*counting\.yaml", shown.printed, re.MULTILINE)
    assert commands == ["test", "test", "fit"]


def test_a_size_that_cannot_work_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        demo.main([f"--folder={tmp_path}", "--num-test=0"])
    assert "num_test=0 must be at least 1" in capsys.readouterr().err
