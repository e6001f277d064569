"""Bars show up after two seconds, on a terminal, in the first process."""

import io
import time
from collections.abc import Callable

import pytest

from numclip_lightning import progress
from numclip_lightning.progress import busy, watched
from support.terminal import Terminal


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, seconds: float = 0.0) -> str:
    monkeypatch.setattr(progress, "_SECONDS", seconds)
    monkeypatch.setattr("sys.stderr", stream)
    assert list(watched(iter(range(3)), 3, "checking images")) == [0, 1, 2]
    return stream.getvalue()


def test_a_terminal_shows_what_is_done_and_of_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, Terminal())
    assert "checking images" in text
    assert "0/3" in text


def test_nothing_is_shown_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == "", "no terminal"
    assert "checking" not in shown(monkeypatch, Terminal(), seconds=60.0), "quickly done"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert shown(monkeypatch, Terminal()) == "", "another process"


def test_a_log_says_how_long_it_goes_on_twice_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with caplog.at_level("INFO", logger="numclip_lightning"):
        for _ in watched(range(9), 9, "encoding images", "batch"):
            now[0] += 12
    assert caplog.messages == ["encoding images: 3 of 9; 1 min left", "encoding images: 6 of 9; 36 s left"]


def test_a_step_of_unknown_length_shows_for_how_long_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with busy("exporting as onnx"):
        time.sleep(0.01)
    assert stream.getvalue() == "", "quickly done"
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    with busy("exporting as onnx"):
        wait_for(lambda: "exporting as onnx: 00:0" in stream.getvalue())
    assert stream.getvalue().endswith("\r"), "the bar is gone before anything else is printed"


def test_a_log_says_that_a_step_has_begun_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr(progress, "_SECONDS", 0.0)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.01)
    with caplog.at_level("INFO", logger="numclip_lightning"), busy("looking at scans"):
        wait_for(lambda: len(caplog.messages) > 1)
    assert caplog.messages[:2] == ["looking at scans ...", "looking at scans: 0 s so far"]
    monkeypatch.setenv("LOCAL_RANK", "1")
    caplog.clear()
    with busy("looking at scans"):
        time.sleep(0.05)
    assert not caplog.messages, "another process"


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "nothing was shown"
        time.sleep(0.005)
