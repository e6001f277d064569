"""Where a predictor comes from: a run, a method in memory, or the Hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from numclip_lightning.calibration import plain_calibration, read_calibration
from numclip_lightning.deploy.folder import CONFIG, WEIGHTS, Halves
from numclip_lightning.deploy.recipe import Recipe
from numclip_lightning.errors import ConfigError
from numclip_lightning.scale import OrdinalScale

__all__ = ["arguments_of", "fetch", "halves_of", "load_run"]


def fetch(name: str, **arguments: Any) -> str:
    """Fetch a predictor from the Hub; returns its folder.

    Raises:
        ConfigError: If it can't be fetched.
    """
    try:
        return str(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS, "README.md"], **arguments))
    except Exception as error:  # the hub's client has dozens of errors
        raise ConfigError(
            f"{name} is no folder here, and can't be fetched from the Hub: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error


def halves_of(method: Any, calibration: Mapping[str, Any] | None = None) -> Halves:
    """Return the halves of a method in memory, with the quantiles that its calibration needs."""
    from numclip_lightning.deploy.parts import split_method

    encoder, decoder = split_method(method, (calibration or {}).get("quantile_shares", ()))
    return Halves(encoder, decoder, decoder.names)


def arguments_of(method: Any) -> dict[str, Any]:
    """Return the arguments of a method as plain values, without its scale."""
    return {key: value for key, value in dict(method.hparams).items() if key not in ("scale", "_class_path")}


def load_run(
    place: Path, recipe: Recipe | None, backbone: str | None, *, keep_text: bool = False
) -> tuple[Halves, OrdinalScale, Recipe, dict[str, Any]]:
    """Load the checkpoint of a run, with what its folder says; without its text tower, unless that is kept."""
    # Imported here: these need Lightning, which exported folders don't.
    from numclip_lightning.deploy.checkpoints import find_checkpoint, load_checkpoint, recipe_of, run_folder_of
    from numclip_lightning.deploy.facts import facts_of_run

    checkpoint = find_checkpoint(place) if place.is_dir() else place
    folder = run_folder_of(checkpoint)
    method = load_checkpoint(checkpoint, backbone)
    if not keep_text:
        method.release_text()
    recipe = recipe or recipe_of(folder, method, checkpoint)
    about: dict[str, Any] = {"method": type(method).__name__, "arguments": arguments_of(method)}
    if folder:
        about["training"] = facts_of_run(folder)
        if calibration := read_calibration(folder):
            about["calibration"] = plain_calibration(calibration)
    return halves_of(method, about.get("calibration")), method.scale, recipe, about
