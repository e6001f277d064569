"""Small scales for tests: 0 to 6 dots, and the counts of generated scenes, in two levels."""

from numclip_lightning.scale import OrdinalScale

COUNTS = OrdinalScale(
    minimum=1, maximum=60, levels=[{"phrase": "few things", "start": 1}, {"phrase": "many things", "start": 9}]
)
DOTS = OrdinalScale(
    minimum=0,
    maximum=6,
    template="{} dots",
    levels=[{"phrase": "hardly any", "start": 0}, {"phrase": "many", "start": 4}],
)
