"""`numclip convert`: weights of other projects as a folder that `model.backbone=local-dir:...` reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.converting import convert_clip, convert_longclip, convert_tower, stretch_clip
from numclip_lightning.progress import busy
from numclip_lightning.runs.parser import Parser

__all__ = ["convert"]

_KINDS = {
    "longclip": "a file of Long-CLIP, whose prompts have 248 tokens",
    "tower": "a file with the image tower alone, such as un2CLIP's; the text tower comes from --backbone",
    "clip": "a file with a whole CLIP in OpenAI's names, such as FaRL's",
    "stretch": "no file: the positions of --backbone are stretched as Long-CLIP does, without training",
}


def convert(words: Sequence[str]) -> int:
    """Run `numclip convert --kind KIND [--input FILE] --output DIR [--backbone NAME] [--pretrained TAG]`.

    Args:
        words: The words after `numclip convert`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If an argument is missing, or the folder has a model already.
        BackboneError: If the weights don't fit the model.
    """
    parser = Parser(
        prog="numclip convert",
        usage="numclip convert --kind KIND [--input FILE] --output DIR [--backbone NAME] [--pretrained TAG]",
        description="Write open_clip_config.json and open_clip_model.safetensors. Kinds: "
        + "; ".join(f"{kind}: {what}" for kind, what in _KINDS.items()) + ".",
    )  # fmt: skip
    add = parser.add_argument
    add("--kind", type=Literal["longclip", "tower", "clip", "stretch"], required=True, help="What is converted.")
    add("--input", type=str | None, default=None, help="The file with the weights.")
    add("--output", type=str, required=True, help="The folder to write.")
    add("--backbone", type=str | None, default=None, help="The model of open_clip that the weights are of.")
    add("--pretrained", type=str | None, default="openai", help="The weights of --backbone for tower and stretch.")
    given = parser.parse_args(list(words))
    if (given.input is None) != (given.kind == "stretch"):
        needs = "takes no --input" if given.kind == "stretch" else "needs --input, the file with the weights"
        raise ConfigError(f"numclip convert --kind={given.kind} {needs}.")
    if given.backbone is None and given.kind != "longclip":
        raise ConfigError(f"numclip convert --kind={given.kind} needs --backbone, such as ViT-L-14-quickgelu.")
    with busy(f"writing {given.output}"):
        said = _convert(given)
    print(said)  # noqa: T201
    return 0


def _convert(given: Namespace) -> str:
    """Write the folder; return what was written, in a line."""
    output = Path(given.output)
    if given.kind == "stretch":
        return stretch_clip(output, given.backbone, given.pretrained)
    if given.kind == "tower":
        return convert_tower(Path(given.input), output, given.backbone, given.pretrained)
    if given.kind == "clip":
        return convert_clip(Path(given.input), output, given.backbone)
    return convert_longclip(Path(given.input), output, given.backbone)
