"""One small scale for tests: 0 to 6 dots in two levels."""

from numclip_lightning.scale import OrdinalScale

DOTS = OrdinalScale(
    minimum=0,
    maximum=6,
    template="{} dots",
    levels=[{"phrase": "hardly any", "start": 0}, {"phrase": "many", "start": 4}],
)
