"""The model card of a predictor: what it says, what it was made from, how wrong it is, and what it is not for."""

from collections.abc import Mapping
from typing import Any

from numclip_lightning.scale import OrdinalScale

__all__ = ["model_card"]

_HEADER = """---
library_name: numclip-lightning
tags:
{tags}
---
"""


def model_card(config: Mapping[str, Any], scale: OrdinalScale) -> str:
    """Write the card as Markdown.

    Args:
        config: What `config.json` has.
        scale: The scale.

    Returns:
        The text, with the header that a model hub reads.
    """
    unit = f" {scale.unit}" if scale.unit else ""
    tags = "\n".join(f"- {tag}" for tag in ("ordinal-regression", "clip", "model_hub_mixin"))
    parts = [
        _HEADER.format(tags=tags),
        f"# {config['method']}: {scale.describe()}",
        f"It reads a number{f' of {scale.unit}' if scale.unit else ''} from an image, "
        f"on a scale of {scale.describe()}.",
        _usage(),
        _levels(scale),
        _made_from(config),
        _errors(config.get("training", {}), unit),
        _trust(config),
        _limits(config.get("training", {}), unit),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _usage() -> str:
    return (
        "## Use\n\n```python\nfrom numclip_lightning import OrdinalPredictor\n\n"
        'predictor = OrdinalPredictor.load("PATH OR NAME OF THIS MODEL")\nprint(predictor("image.jpg"))\n```'
    )


def _levels(scale: OrdinalScale) -> str:
    rows = [
        f"| {phrase} | {low:g} to {high:g} |"
        for phrase, low, high in zip(scale.phrases, scale.lower.tolist(), scale.upper.tolist(), strict=True)
    ]
    shown = [*rows[:10], f"| ... {len(rows) - 20} more | |", *rows[-10:]] if len(rows) > 20 else rows
    return "\n".join(["## Levels", "", "| phrase | values |", "| --- | --- |", *shown])


def _made_from(config: Mapping[str, Any]) -> str:
    training, arguments, recipe = config.get("training", {}), config.get("arguments", {}), config["preprocessing"]
    rows = [
        ("method", config["method"]),
        ("backbone", f"{arguments.get('backbone', '?')}, weights: {arguments.get('pretrained')}"),
        ("image", f"{recipe['image_size']} x {recipe['image_size']} pixels, preprocessing `{recipe['preprocess']}`"),
        ("size", f"{config['size']['numbers']:,} numbers, {config['size']['bytes'] / 1e6:.1f} MB"),
        ("versions", ", ".join(f"{name} {version}" for name, version in config["versions"].items())),
    ]
    if data := training.get("data"):
        said = ", ".join(f"{key}={value}" for key, value in data["arguments"].items() if value not in (None, [], ""))
        rows += [("data", data["class"]), ("arguments of the data", said), ("run", training["run"])]
    lines = [f"| {name} | {str(value).replace('|', '/')} |" for name, value in rows]
    return "\n".join(["## What it was made from", "", "| | |", "| --- | --- |", *lines])


def _errors(training: Mapping[str, Any], unit: str) -> str:
    test = training.get("test")
    if not test:
        return "## How wrong it is\n\nIt was not tested: the run that it comes from has no test predictions."
    low, high = test["mae_interval"]
    lines = [
        "## How wrong it is",
        "",
        f"Mean absolute error on {test['images']} test images: **{test['mae']:.3g}**{unit} (95 % interval over "
        f"the test images {low:.3g} to {high:.3g}); mean error {test['bias']:+.3g}.",
        "",
        "| level of the true number | images | mean absolute error | mean error |",
        "| --- | --- | --- | --- |",
    ]
    for phrase, found in test["levels"].items():
        lines.append(f"| {phrase} | {found['images']} | {found['mae']:.3g} | {found['bias']:+.3g} |")
    selected = training.get("select_on", "val")
    lines += [
        "",
        "The checkpoint was selected on the test images, so that these errors look smaller than they are."
        if selected == "test"
        else "The checkpoint was selected on validation images, which are not among the test images.",
    ]
    return "\n".join(lines)


def _trust(config: Mapping[str, Any]) -> str:
    found, scored = config.get("calibration"), config.get("on_scale")
    intervals = "Its predictions have no intervals: the run that it comes from was not calibrated."
    if found:
        intervals = (
            f"`lower` and `upper` hold the true number of {100 * found['coverage']:.3g} % of images such as the "
            f"{found['n']} validation images that they were found on; of other images nothing is promised."
        )
    belongs = (
        "It can't say whether an image is one of those that the scale is for: that is learned from training and "
        "validation images (`numclip export --on_scale mahalanobis`)."
    )
    if scored:
        belongs = (
            f"`on_scale` is the share of {scored['validation_images']} validation images that look no more like the "
            f"scale than an image ({scored['score']}): reject at 0.05, and of images like those 5 % are lost."
        )
    return f"## How far to trust it\n\n{intervals}\n\n{belongs}"


def _limits(training: Mapping[str, Any], unit: str) -> str:
    span = ""
    if test := training.get("test"):
        low, high = test["targets"]
        span = f"The numbers of the test images were from {low:g} to {high:g}{unit}: beyond them nothing is known. "
    return (
        "## What it must not be used for\n\n"
        "Decisions about people, and any decision where a single wrong number does harm. Images of another kind than "
        f"those it was trained on: it gives a number for every image, also where there is nothing to measure. {span}"
        "The spread is that of the model's own distribution; it was not calibrated."
    )
