"""Generated scenes of 1 to 60 things."""

from numclip_lightning.data.counting.datamodule import CountingDataModule

__all__ = ["CountingDataModule"]
