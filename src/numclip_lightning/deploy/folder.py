"""The folder of an exported predictor: `model.safetensors` (tensors and graph), `config.json`, and a card."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import numclip_lightning
from numclip_lightning.deploy.card import model_card
from numclip_lightning.deploy.graph import Graph, trace
from numclip_lightning.errors import ConfigError
from numclip_lightning.plain import parse_json
from numclip_lightning.scale import OrdinalScale

__all__ = ["CONFIG", "FORMAT", "WEIGHTS", "Halves", "is_exported", "read_folder", "write_folder"]

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = "numclip-predictor"
_VERSION = 1
_HALVES = ("encoder", "decoder")


@dataclass(frozen=True)
class Halves:
    """A model as its image tower and the rest.

    Attributes:
        encoder: Normalised images (B, 3, H, W) -> features (B, ...).
        decoder: Features -> a tensor for each of `names`.
        names: What the decoder returns, see `parts.Decoder`.
    """

    encoder: nn.Module
    decoder: nn.Module
    names: list[str]


def is_exported(folder: Path) -> bool:
    """Return whether a folder holds an exported predictor."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def write_folder(folder: Path, halves: Halves, scale: OrdinalScale, config: Mapping[str, Any]) -> None:
    """Write a predictor.

    Args:
        folder: An existing folder.
        halves: The model, on the CPU; it is not changed.
        scale: The scale.
        config: What else `config.json` has: method, arguments, preprocessing, training.

    Raises:
        ConfigError: If the model can't be exported.
    """
    side = config["preprocessing"]["image_size"]
    example = torch.zeros(2, 3, side, side)
    with torch.no_grad():
        features = halves.encoder(example)
    graphs: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for name, module, given in zip(_HALVES, (halves.encoder, halves.decoder), (example, features), strict=True):
        graphs[name], weights = module.written() if isinstance(module, Graph) else trace(module, given)
        # Copies: a file can't hold two names of one memory, nor other layouts of it.
        tensors |= {f"{name}.{key}": tensor.cpu().contiguous().clone() for key, tensor in weights.items()}
    # A single entry: several are written in any order, and the same model would be another file.
    save_file(tensors, folder / WEIGHTS, {"graph": json.dumps(graphs, separators=(",", ":"))})
    # safetensors keeps its files to the user who wrote them; a server may be another.
    (folder / WEIGHTS).chmod(0o644)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    whole = {
        "format": FORMAT,
        "format_version": _VERSION,
        **config,
        "scale": scale.to_dict(),
        "outputs": halves.names,
        "size": {"numbers": numbers, "bytes": (folder / WEIGHTS).stat().st_size},
        "versions": _versions(),
    }
    (folder / CONFIG).write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / CARD).write_text(model_card(whole, scale), encoding="utf-8")


def read_folder(folder: Path) -> tuple[Halves, OrdinalScale, dict[str, Any]]:
    """Read a predictor.

    Args:
        folder: A folder that `write_folder` has written.

    Returns:
        The model on the CPU, the scale, and the rest of `config.json`.

    Raises:
        ConfigError: If a file is missing, of another kind, cut short, or of a later version.
    """
    config = _read_config(folder / CONFIG)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            graphs = parse_json((file.metadata() or {})["graph"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(
            f"{folder / WEIGHTS} can't be read ({error}); it may be cut short: export the model again."
        ) from error
    encoder, decoder = (
        Graph(graphs[half], {name.removeprefix(f"{half}."): tensor for name, tensor in tensors.items()})
        for half in _HALVES
    )
    return Halves(encoder, decoder, list(config["outputs"])), OrdinalScale.of(config["scale"]), config


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} can't be read ({error}); export the model again.") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ConfigError(f"{file} is of no predictor of this project (format {FORMAT!r}); give another folder.")
    if config["format_version"] > _VERSION:
        raise ConfigError(
            f"{file} has the format version {config['format_version']}, this program reads {_VERSION}; install a later "
            "numclip-lightning."
        )
    return config


def _versions() -> dict[str, str]:
    found = {"numclip_lightning": numclip_lightning.__version__}
    for name in ("torch", "open_clip_torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
