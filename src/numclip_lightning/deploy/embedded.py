"""The predictor that comes with the package: the small CLIP, which counts things in generated scenes by phrases."""

from typing import Any

from numclip_lightning.scale import OrdinalScale

__all__ = ["EMBEDDED", "embedded_method"]

EMBEDDED = "mini"

_STARTS = {
    "a single thing": 1,
    "a couple of things": 2,
    "a few things": 3,
    "several things": 5,
    "many things": 9,
    "a crowd of things": 17,
    "countless things": 32,
}


def embedded_method(*, keep_text: bool = True) -> Any:
    """Return zero-shot CLIP on the embedded model: nothing is trained, and no file or network is needed.

    Args:
        keep_text: Whether it keeps its text tower.
    """
    from numclip_lightning.methods.zero_shot import ZeroShotCLIP

    scale = OrdinalScale(
        minimum=1,
        maximum=60,
        unit="things",
        template="a picture of {}.",
        levels=[{"phrase": phrase, "start": start} for phrase, start in _STARTS.items()],
    )
    method = ZeroShotCLIP(scale=scale, backbone=EMBEDDED, pretrained="auto", names="phrases", decode="expectation")
    if not keep_text:
        method.release_text()
    return method
