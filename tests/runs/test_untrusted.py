"""What strangers send runs no code, and what is secret is written nowhere."""

import csv
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from numclip_lightning import cli
from numclip_lightning.data.base import workbooks
from numclip_lightning.data.base.labels import read_labels
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.methods import L1Regression
from numclip_lightning.methods.base.saved import method_class, read_checkpoint
from numclip_lightning.methods.base.trust import TRUST
from numclip_lightning.models.converting import convert_clip
from numclip_lightning.report.spreadsheets import write_csv
from numclip_lightning.runs.secret_values import refuse_secrets
from numclip_lightning.scale import OrdinalScale
from support.command import Numclip, rows_of
from support.fake_data import make_images

WORDS = ["--model=ZeroShotCLIP", "--model.scale.minimum=0", "--model.scale.maximum=3", "--data=ListDataModule"]


class Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module whose import leaves a mark, where Python finds it."""
    (tmp_path / "evil_module.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'marked')!r})\nclass Model: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "marked"


def saved(file: Path, **arguments: Any) -> Path:
    torch.save({"hyper_parameters": arguments, "state_dict": {}}, file)
    return file


def test_a_pickle_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "marked"
    file = saved(tmp_path / "evil.ckpt", _class_path="numclip_lightning.methods.coral.CORAL", scale=Attack(marker))
    with zipfile.ZipFile(file) as archive:
        assert any(b"mkdir" in archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    with pytest.raises(ConfigError, match=r"evil\.ckpt can't be read"):
        read_checkpoint(file)
    with pytest.raises(ConfigError):
        OrdinalPredictor.load(file)
    assert cli.main(["predict", *WORDS, "--ckpt_path", str(file)]) == 2
    assert not marker.exists()
    # The attack works where it is let in.
    pickle.loads(pickle.dumps(Attack(marker)))
    assert marker.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        {"_class_path": "evil_module.Model"},
        {
            "_class_path": "numclip_lightning.methods.coral.CORAL",
            "optimizer": {"name": "evil_module.Model", "args": {}},
        },
        {"_class_path": "numclip_lightning.methods.coral.CORAL", "parts": [{"class_path": "evil_module.Model"}]},
    ],
)
def test_a_checkpoint_imports_nothing_that_was_not_asked_for(arguments: dict[str, Any], evil: Path) -> None:
    file = saved(evil.parent / "a.ckpt", **arguments)
    with pytest.raises(ConfigError, match=r"a\.ckpt names the class evil_module\.Model.*NUMCLIP_TRUST=evil_module"):
        read_checkpoint(file)
    assert not evil.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        # All of these can be imported without harm, and called with it.
        ({"_class_path": "os.system"}, "os.system, which is no method of this project"),
        ({"_class_path": "torch.hub.load"}, "torch.hub.load, which is no method"),
        ({"optimizer": {"name": "os.mkdir", "args": {"path": "{mark}"}}}, "optimizer"),
        ({"optimizer": {"name": "torch.hub.load", "args": {"repo_or_dir": "a/b"}}}, "optimizer"),
        ({"lr_scheduler": {"name": "subprocess.Popen", "args": {"args": ["mkdir", "{mark}"]}}}, "lr_scheduler"),
    ],
)
def test_what_is_no_method_optimiser_or_schedule_is_not_called(
    arguments: dict[str, Any], message: str, tmp_path: Path, fitted: Path
) -> None:
    mark = tmp_path / "marked"
    checkpoint = torch.load(fitted / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["hyper_parameters"].update(json.loads(json.dumps(arguments).replace("{mark}", str(mark))))
    torch.save(checkpoint, tmp_path / "a.ckpt")
    with pytest.raises(ConfigError, match=message):
        OrdinalPredictor.load(tmp_path / "a.ckpt")
    assert not mark.exists()


def test_whatever_a_list_says_nothing_is_written_outside_the_run_folder(
    tmp_path: Path, fitted: Path, numclip: Numclip
) -> None:
    root = tmp_path / "lists" / "data"
    root.mkdir(parents=True)
    names = ["../above.png", str(tmp_path / "absolute.png"), "=cmd|x.png", "<script>.png", "a/../../lists/data/b.png"]
    (root / "a").mkdir()
    make_images(root, names)
    (root / "new.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    before = set(tmp_path.rglob("*"))
    best = str(fitted / "checkpoints" / "best.ckpt")
    run = numclip("predict", f"--ckpt_path={best}", f"--data.root={root}", "--data.predict_path=new.txt", "--maps")
    written = {file for file in set(tmp_path.rglob("*")) - before if file not in (run, run.parent)}
    assert all(file.is_relative_to(run) for file in written)
    assert [row["path"] for row in rows_of(run / "predictions.csv")] == names
    assert len(list((run / "maps").glob("*.png"))) == len(names)


def test_a_module_that_is_trusted_by_name_may_be_named(evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUST, "other, evil_module")
    checkpoint = read_checkpoint(saved(evil.parent / "a.ckpt", _class_path="evil_module.Model"))
    with pytest.raises(ConfigError, match=r"evil_module\.Model, which is no method of this project"):
        method_class(checkpoint, "a.ckpt")
    assert evil.exists()


def test_weights_are_not_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "marked"
    torch.save({"state_dict": Attack(marker)}, tmp_path / "weights.pt")
    with pytest.raises(ConfigError):
        convert_clip(tmp_path / "weights.pt", tmp_path / "out", "ViT-B-32")
    assert not marker.exists()


@pytest.mark.slow
def test_weights_of_a_backbone_are_not_unpickled(tmp_path: Path) -> None:
    torch.save({"state_dict": Attack(tmp_path / "marked")}, tmp_path / "weights.pt")
    with pytest.raises(ConfigError):
        L1Regression(scale=OrdinalScale(0, 3), backbone="ViT-B-32", pretrained=str(tmp_path / "weights.pt"))
    assert not (tmp_path / "marked").exists()


def test_a_workbook_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openpyxl")
    pd.DataFrame({"path": ["a.png"] * 2000, "age": 3}).to_excel(tmp_path / "list.xlsx", index=False)
    monkeypatch.setattr(workbooks, "MAX_UNPACKED", 50_000)
    with pytest.raises(DataError, match=r"list\.xlsx unpacks to 0\.\d GB.* save the sheet as CSV"):
        read_labels(tmp_path / "list.xlsx")


def test_formulas_are_text_in_the_tables_of_reports(tmp_path: Path) -> None:
    words = ["=1+1", "+cmd", "@SUM(A1)", "-x", "\t=1", "plain", "-1.5", ""]
    frame = pd.DataFrame({"=name": words, "mean": [-1.5] * 8, "note": pd.Series([None] * 8, dtype="object")})
    write_csv(frame, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["'=name", "mean", "note"]
    assert [row[0] for row in rows] == ["'=1+1", "'+cmd", "'@SUM(A1)", "'-x", "'\t=1", "plain", "-1.5", ""]
    assert {row[1] for row in rows} == {"-1.5"}
    # Without such words it is the file of pandas.
    plain = frame.iloc[5:].rename(columns={"=name": "name"})
    write_csv(plain, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == plain.to_csv(index=False)


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"trainer": {"logger": [{"init_args": {"api_key": "abc"}}]}}, "trainer.logger.init_args.api_key"),
        ({"trainer": {"logger": {"init_args": {"config": {"db_password": "abc"}}}}}, "db_password"),
        ({"trainer": {"logger": {"init_args": {"password": 12345}}}}, "password"),
        ({"data": {"init_args": {"root": "/mnt/0123456789abcdef/x"}}}, "data.init_args.root.*WANDB_API_KEY"),
    ],
)
def test_secrets_are_refused_and_not_printed(
    config: dict[str, Any], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    with pytest.raises(ConfigError, match=place) as caught:
        refuse_secrets(config)
    assert "0123456789abcdef" not in str(caught.value)
    assert "abc" not in str(caught.value)
    assert "12345" not in str(caught.value)


def test_other_words_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("DB_PASSWORD", "root")
    refuse_secrets({"data": {"root": "root", "token": "x", "num_tokens": 4, "path_column": "key"}, "api_key": None})


@pytest.mark.parametrize(
    ("secret", "text", "refused"),
    [
        ("hunter22", "hunter22", True),
        ("hunter22", "postgres://me:hunter22@host/db", True),
        ("hunter22", "https://host/x?token=hunter22", True),
        # Words that stand in paths and names by chance.
        ("numclip_", "numclip_lightning.methods.sord.SORD", False),
        ("password", "/data/password/list.csv", False),
        ("aesthetics-scores", "/data/aesthetics-scores/list.csv", False),
        ("0123456789abcdef", "/mnt/0123456789abcdef/x", True),
        ("0123456789abcdef", "/mnt/0123456789abcdef01/x", False),
        ("sk-0123456789/+abcd=", "key sk-0123456789/+abcd=.", True),
        ("a.b(0123456789", "a.b(0123456789", True),
        ("a.b(0123456789", "aXb(0123456789", False),
        ("12345678", "12345678", True),
        # What names a file is no secret, and a key is too long for a name.
        (str(Path(__file__)), str(Path(__file__)), False),
        ("a1" * 3000, "a1" * 3000, True),
    ],
)
def test_a_secret_is_found_where_it_is_whole(
    secret: str, text: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SECRET", secret)
    if not refused:
        refuse_secrets({"data": [{"root": text}]})
        return
    with pytest.raises(
        ConfigError, match=r"data\.root contains the value .* SOME_SECRET.*env -u SOME_SECRET"
    ) as caught:
        refuse_secrets({"data": [{"root": text}]})
    assert secret not in str(caught.value)


def test_a_command_with_a_secret_ends_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    assert cli.main(["fit", *WORDS, "--data.root=hf_0123456789", f"--trainer.default_root_dir={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert "HF_TOKEN" in said
    assert "hf_0123456789" not in said
    assert list(tmp_path.iterdir()) == []
