"""The package exports the datamodules of all modules in its folder."""

from importlib import import_module
from pathlib import Path

import pytest

import numclip_lightning.data
from numclip_lightning.data.base import OrdinalDataModule

FOLDER = Path(str(numclip_lightning.data.__file__)).parent
DATASETS = sorted(file.stem for file in FOLDER.iterdir() if file.stem not in ("__init__", "base", "__pycache__"))


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_dataset_is_exported_by_its_file_alone(dataset: str) -> None:
    module = import_module(f"numclip_lightning.data.{dataset}")
    own = [value for name in module.__all__ if isinstance(value := getattr(module, name), type)]
    datamodules = [value for value in own if issubclass(value, OrdinalDataModule)]
    assert datamodules, f"{dataset} defines no datamodule"
    for value in datamodules:
        assert value.__name__ in numclip_lightning.data.__all__
        assert getattr(numclip_lightning.data, value.__name__) is value


def test_the_bases_are_not_datasets() -> None:
    assert not [
        name for name in numclip_lightning.data.__all__ if name.startswith(("Ordinal", "File", "Pool", "Drawn"))
    ]
