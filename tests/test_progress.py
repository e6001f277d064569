"""Bars show up after two seconds, on a terminal, in the first process."""

import io

import pytest

from numclip_lightning import progress
from numclip_lightning.progress import watched
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
