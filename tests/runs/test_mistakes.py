"""Mistakes of users: each is refused with exit code 2 and a message that names it, without a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Numclip, failure

Refusal = Callable[..., str]


@pytest.fixture
def parser_error(numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run a fit whose words the parser refuses, before anything is built; return what it prints."""

    def run(*words: str) -> str:
        assert failure("fit", *numclip.flags, *words) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert len(error.splitlines()) < 20, "not hidden under the names of all flags"
        assert not numclip.runs.exists()
        return error

    return run


@pytest.fixture
def error(numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Run a fit that is refused after its words were parsed; return what it prints."""

    def run(*words: str) -> str:
        assert failure("fit", *numclip.flags, *words) == 2
        error = capsys.readouterr().err
        assert "numclip: error: " in error
        assert "Traceback" not in error
        return error

    return run


class TestMisspelt:
    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("--trainer.max_epoch=2", "unrecognized arguments: --trainer.max_epoch=2"),
            ("--model.weigthing=none", "'weigthing' is not accepted"),
            ("--model.learning_rates.adaptor=1e-4", "adaptor"),
            ("--model.scale.maximun=20", "maximun"),
            ("--data.batchsize=4", "'batchsize' is not accepted"),
            ("--model=NumClip", "NumClip"),
            ("--model=OrdinalMethod", "is abstract"),
            ("--model.weighting=logit", "Literal['logits', 'similarities', 'none']. Got value: logit"),
            ("--data.preprocess=none", "Literal['clip', 'published', 'whole']. Got value: none"),
            ("--model.learning_rates.head=fast", "Expected a <class 'float'>. Got value: fast"),
            ("--trainer.max_epochs=two", "trainer.max_epochs"),
            ("--model.scale.levels=[{phrase: no, start: 10}]", "YAML reads yes, no, on and off without quotes as true"),
            ("--model.scale.levels=[{phrase: 1, start: 10}]", "YAML reads it so: put the words in quotes"),
            ("--config=nowhere.yaml", "nowhere.yaml"),
            ("--config=configs/benchmarks/smoke.yaml", "a key of a benchmark, whose file is run by: numclip benchmark"),
        ],
    )
    def test_a_flag_is_named(self, parser_error: Refusal, word: str, message: str) -> None:
        assert message in parser_error(word)

    @pytest.mark.parametrize(
        ("word", "hint"),
        [
            ("--model.learning_rate.head=0.1", "did you mean 'learning_rates.head'?"),
            ("--model.learning_rates.heads=0.1", "did you mean 'learning_rates.head'?"),
            ("--model.weigthing=none", "did you mean 'weighting'?"),
            ("--data.batchsize=4", "did you mean 'batch_size'?"),
        ],
    )
    def test_an_argument_is_answered_in_a_line_with_the_near_name(
        self, parser_error: Refusal, word: str, hint: str
    ) -> None:
        (line,) = (line for line in parser_error(word).splitlines() if line.startswith("error"))
        assert line.endswith(hint)

    def test_a_key_in_a_configuration_is_named(self, parser_error: Refusal, tmp_path: Path) -> None:
        (tmp_path / "bad.yaml").write_text("trainer: {max_epoch: 3}", encoding="utf-8")
        assert "max_epoch" in parser_error("--config", str(tmp_path / "bad.yaml"))

    def test_a_flag_without_a_value_names_the_help_of_its_verb(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert failure("fit", "--model.weighting") == 2
        assert "run: numclip fit --help" in capsys.readouterr().err


class TestRenamed:
    """Names of before `select_on`."""

    NEW = "use data.select_on=val (before: protocol=clean) or data.select_on=test"

    @pytest.mark.parametrize("word", ["--data.protocol=paper", "--data.allow_test_as_val=true"])
    def test_a_flag_is_refused_with_the_new_name(self, parser_error: Refusal, word: str) -> None:
        assert self.NEW in " ".join(parser_error(word).split())

    @pytest.mark.parametrize("key", ["protocol: clean", "allow_test_as_val: false"])
    def test_a_key_in_a_configuration_is_refused_with_the_new_name(
        self, parser_error: Refusal, tmp_path: Path, key: str
    ) -> None:
        (tmp_path / "old.yaml").write_text(f"data: {{init_args: {{{key}}}}}", encoding="utf-8")
        assert self.NEW in " ".join(parser_error("--config", str(tmp_path / "old.yaml")).split())

    def test_numclip_splits_refuses_it_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("splits", "--data=ListDataModule", "--data.protocol=paper", "--output=nowhere")
        assert failure(*words) == 2
        assert self.NEW in " ".join(capsys.readouterr().err.split())


class TestArguments:
    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("--ckpt_path=nowhere.ckpt", "--ckpt_path nowhere.ckpt is no file"),
            ("--ckpt_path=last", "--ckpt_path last is no file"),
            ("--trainer.precision=bf16-true", "trainer.precision=bf16-true rounds targets; set bf16-mixed"),
            ("--model.lr_scheduler.name=StepLR", "lr_scheduler.args={} don't fit StepLR"),
            ("--model.optimizer.args={betas: 3}", "don't fit RAdam"),
            ("--trainer.max_epochs=-1", "needs to know its end: set trainer.max_epochs"),
            ("--data.image_size=64", "the images are 64x64 pixels, the backbone takes 32x32"),
            ("--data.batch_size=0", "batch_size=0 must be at least 1"),
            ("--model.backbone=tiny-vti", "did you mean 'tiny-vit'"),
            ("--model.scale.maximum=5", "scale.minimum 10 is greater than scale.maximum 5"),
            ("--model.optimizer.name=Adem", "did you mean 'Adam'"),
            ("--model.learning_rates.head=-1", "learning_rates.head is -1.0"),
            (
                "--model.learning_rates={image_encoder: 0, adapter: 0, context: 0, phrases: 0, head: 0}",
                "nothing is left to train",
            ),
            ("--trainer.accelerator=abacus", "accelerator='abacus'"),
            ("--trainer.devices=none", "`devices`"),
            ("--checkpoint.monitor=val_mea", "monitor='val_mea'"),
        ],
    )
    def test_a_value_that_can_not_work_is_named(self, error: Refusal, word: str, message: str) -> None:
        assert message in error(word)

    def test_a_file_that_is_no_checkpoint_is_named(self, error: Refusal, tmp_path: Path) -> None:
        (tmp_path / "bad.ckpt").write_bytes(b"not a checkpoint")
        assert "bad.ckpt is no checkpoint, or was cut short" in error(f"--ckpt_path={tmp_path / 'bad.ckpt'}")


class TestLists:
    @pytest.fixture
    def error_in(self, error: Refusal, numclip: Numclip, tmp_path: Path) -> Refusal:
        """Run a fit with a list of some lines for a split; return what it prints."""

        def run(split: str, lines: str, *words: str) -> str:
            (tmp_path / "bad.txt").write_text(lines, encoding="utf-8")
            printed = error(f"--data.{split}_file={tmp_path / 'bad.txt'}", *words)
            assert not list(numclip.runs.glob("*")), "no empty run folder is left"
            return printed

        return run

    def test_one_that_does_not_exist_is_named(self, error: Refusal, numclip: Numclip) -> None:
        assert "train_file='nowhere.txt' doesn't exist" in error("--data.train_file=nowhere.txt")
        assert not list(numclip.runs.glob("*"))

    @pytest.mark.parametrize("split", ["train", "test"])
    def test_one_without_entries_is_named(self, error_in: Refusal, split: str) -> None:
        assert "bad.txt is empty" in error_in(split, "")

    def test_a_target_outside_the_scale_is_named_by_its_line(self, error_in: Refusal) -> None:
        lines = "train_000.png 10\ntrain_001.png 99\ntrain_002.png 12\n"
        assert "bad.txt:2: train_001.png has 99" in error_in("train", lines)

    def test_a_missing_image_is_named_by_its_line(self, error_in: Refusal) -> None:
        assert "bad.txt:1: nowhere.png: missing" in error_in("train", "nowhere.png 10\ntrain_001.png 11\n")

    def test_a_test_list_is_checked_before_the_fit_that_it_follows(self, error_in: Refusal) -> None:
        lines = "test_000.png 10\ntest_001.png 99\ntest_002.png 12\n"
        printed = error_in("test", lines, "--test_after_fit=true")
        assert "1 of 3 targets in the test split lie outside" in printed

    def test_a_test_image_is_missed_before_the_fit_that_it_follows(self, error_in: Refusal) -> None:
        printed = error_in("test", "nowhere.png 10\ntest_001.png 11\n", "--test_after_fit=true")
        assert "bad.txt:1: nowhere.png: missing" in printed

    def test_an_image_that_only_loading_finds_bad_is_named_by_its_line(
        self, error: Refusal, numclip: Numclip, tmp_path: Path
    ) -> None:
        (tmp_path / "cut.png").write_bytes((numclip.data / "train_000.png").read_bytes()[:-40])
        lines = [f"{tmp_path / 'cut.png'} 10", *(f"train_{i:03d}.png 11" for i in range(1, 4))]
        (tmp_path / "cut.txt").write_text("\n".join(lines), encoding="utf-8")
        words = (f"--data.train_file={tmp_path / 'cut.txt'}", "--data.check_images=header")
        assert "cut.txt:1: can't read image" in error(*words)


def test_few_shots_that_change_nothing_are_refused_with_what_counts_the_values_of_the_scale(
    error: Refusal, data: Path, tmp_path: Path
) -> None:
    lines = (data / "train.txt").read_text(encoding="utf-8").splitlines()
    scores = [f"{line.split()[0]} {10 + i * 9 / len(lines):.4f}" for i, line in enumerate(lines)]
    (tmp_path / "scores.txt").write_text("\n".join(scores), encoding="utf-8")
    words = [f"--data.train_file={tmp_path / 'scores.txt'}", "--data.num_shots=1"]
    assert "set data.value_step to the width of what counts as one value, such as 1 (the step" in error(*words)


def test_a_place_for_runs_that_is_a_file_is_refused_in_words(error: Refusal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    found = error(f"--trainer.default_root_dir={tmp_path / 'file' / 'runs'}")
    assert f"no run folder can be made there: {tmp_path / 'file'} is a file." in found


def test_training_images_with_one_number_are_said(numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (numclip.data / "train.txt").read_text().splitlines()
    (numclip.data / "one.txt").write_text("".join(f"{line.split()[0]} 12\n" for line in lines))
    numclip.try_out("fit", *numclip.flags, "--data.train_file=one.txt")
    assert "all 21 training images have the target 12, so that nothing but this number can" in capsys.readouterr().err
