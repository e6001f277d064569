"""The ordered scale: its range and step, and its levels, each a phrase and the numbers it covers."""

from numclip_lightning.scale.levels import Level, LevelDict, LevelLike
from numclip_lightning.scale.ordinal import OrdinalScale

__all__ = ["Level", "LevelDict", "LevelLike", "OrdinalScale"]
