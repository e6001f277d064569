"""A check of a long list that was stopped goes on, and does not take changed images for known ones."""

import os
from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.data.base import checked, checking
from numclip_lightning.data.base.checking import check_images
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.errors import DataError
from numclip_lightning.images.loading import inspect_image
from support.fake_data import make_images


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The images that were opened."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checked, "LEAST_IMAGES", 10)
    monkeypatch.setattr(checked, "_AT_ONCE", 4)
    seen: list[str] = []
    plain = inspect_image

    def look(file: Path, *arguments: Any, **named: Any) -> Any:
        seen.append(file.name)
        return plain(file, *arguments, **named)

    monkeypatch.setattr(checking, "inspect_image", look)
    return seen


def table(folder: Path, number: int) -> LabelTable:
    names = [f"{index}.png" for index in range(number)]
    make_images(folder, names)
    return LabelTable(Label(name, (), None, line, folder / "list.txt") for line, name in enumerate(names, start=1))


def test_known_images_are_passed_over_until_they_change(tmp_path: Path, inspected: list[str]) -> None:
    labels = table(tmp_path, 12)
    check_images(labels, tmp_path)
    assert len(inspected) == 12
    inspected.clear()
    check_images(labels, tmp_path)
    assert inspected == []
    os.utime(tmp_path / "3.png", ns=(1, 1))
    (tmp_path / "7.png").write_bytes(b"")
    for _ in range(2):
        inspected.clear()
        with pytest.raises(DataError, match=r"list\.txt:8: 7\.png: unreadable"):
            check_images(labels, tmp_path)
        assert "7.png" in inspected
    assert inspected == ["7.png"], "the fault is found again, all else is known"
    inspected.clear()
    with pytest.raises(DataError, match="unreadable"):
        check_images(labels, tmp_path, "header")
    assert len(inspected) == 12, "another kind of check"


def test_a_check_that_was_killed_goes_on(tmp_path: Path, inspected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    labels = table(tmp_path, 12)
    plain = checking._inspect

    def stop(file: Path, *arguments: Any, **named: Any) -> Any:
        if file.name == "9.png":
            raise KeyboardInterrupt
        return plain(file, *arguments, **named)

    monkeypatch.setattr(checking, "_inspect", stop)
    with pytest.raises(KeyboardInterrupt):
        check_images(labels, tmp_path)
    (record,) = (tmp_path / "cache" / "numclip_lightning" / "checked").iterdir()
    with record.open("ab") as file:
        file.write(b"torn")
    monkeypatch.setattr(checking, "_inspect", plain)
    inspected.clear()
    check_images(labels, tmp_path)
    assert sorted(inspected) == ["10.png", "11.png", "9.png"]
    inspected.clear()
    check_images(labels, tmp_path)
    assert inspected == []


def test_of_a_short_list_nothing_is_recorded(tmp_path: Path, inspected: list[str]) -> None:
    labels = table(tmp_path, 9)
    for _ in range(2):
        check_images(labels, tmp_path)
    assert len(inspected) == 18
    assert not (tmp_path / "cache").exists()
