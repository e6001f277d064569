"""Checkpoints without the weights that are frozen and can be found again where they came from."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.loading import load_clip, load_image_tower
from numclip_lightning.models.tuning import plain_name

__all__ = ["LEFT_OUT", "find_again", "fingerprint", "left_out", "put_back", "take_out"]

# What a checkpoint leaves out, and where it came from.
LEFT_OUT = "left_out"
_CLIP = "clip."


def fingerprint(tensor: Tensor) -> str:
    """Return the type and the SHA-256 of a tensor's numbers, wherever and in whatever layout they lie.

    Example:
        >>> fingerprint(torch.zeros(2, 3)) == fingerprint(torch.zeros(3, 2).T)
        True
        >>> fingerprint(torch.zeros(2, 3)) == fingerprint(torch.zeros(2, 3, dtype=torch.float64))
        False
    """
    numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return f"{str(tensor.dtype).removeprefix('torch.')}:{hashlib.sha256(numbers.data).hexdigest()}"


def find_again(method: nn.Module, backbone: str, pretrained: str | None) -> dict[str, str]:
    """Load the CLIP of a method a second time, and return which of its frozen weights need not be kept.

    Args:
        method: The method, as it was built.
        backbone: Its backbone.
        pretrained: Where its weights came from; random ones (None) can't be found again.

    Returns:
        The fingerprint of each frozen tensor as it is where it came from, by its name in the method's `state_dict`.

    Raises:
        BackboneError: If the weights can't be found.
    """
    if pretrained is None:
        return {}
    trained = _trained(method)
    # Building draws random weights first; the fit goes on with its own numbers.
    with isolate_rng():
        load = load_clip if isinstance(method.clip, CLIPBackbone) else load_image_tower
        clip = load(backbone, pretrained)
    found = {f"{_CLIP}{name}": tensor for name, tensor in clip.state_dict().items()}
    own = method.state_dict()
    # A tuned weight rests beside its change, under another name.
    plain = {plain_name(name): name for name in own}
    known = {plain[name]: tensor for name, tensor in found.items() if name in plain}
    return {name: fingerprint(tensor) for name, tensor in known.items() if name not in trained}


def take_out(method: nn.Module, checkpoint: dict[str, Any], known: Mapping[str, str]) -> None:
    """Take the weights out of a checkpoint that are frozen and still as `find_again` has found them.

    Args:
        method: The method.
        checkpoint: What Lightning is about to write; it is changed.
        known: As `find_again` returns it.
    """
    trained, state = _trained(method), checkpoint["state_dict"]
    # In double precision a method's numbers are those of the file, but of another type.
    gone = {
        name: fingerprint(state[name])
        for name, print_ in known.items()
        if name in state and name not in trained and fingerprint(state[name].to(_type(print_))) == print_
    }
    arguments = checkpoint["hyper_parameters"]
    checkpoint[LEFT_OUT] = {**{key: arguments[key] for key in ("backbone", "pretrained")}, "tensors": gone}
    checkpoint["state_dict"] = {name: tensor for name, tensor in state.items() if name not in gone}


def left_out(checkpoint: Mapping[str, Any]) -> dict[str, str]:
    """Return the fingerprints of the tensors that a checkpoint leaves out, by name; empty if it has all."""
    return dict(checkpoint.get(LEFT_OUT, {}).get("tensors", {}))


def put_back(method: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Put the weights that a checkpoint leaves out back, from a method that was built with them.

    What else is missing is not put back, so that loading refuses it.

    Args:
        method: The method, built with the same backbone and pretrained weights.
        checkpoint: The checkpoint; its `state_dict` is completed.

    Raises:
        ConfigError: If the method has other weights than the checkpoint has left out.
    """
    gone, state = left_out(checkpoint), method.state_dict()
    own = {**{plain_name(name): tensor for name, tensor in state.items()}, **state}
    places = {name: name if name in own else plain_name(name) for name in gone}
    found = {name: own[places[name]].to(_type(print_)) for name, print_ in gone.items() if places[name] in own}
    others = [name for name, print_ in gone.items() if name not in found or fingerprint(found[name]) != print_]
    if others:
        place = checkpoint[LEFT_OUT]
        raise ConfigError(
            f"the checkpoint leaves out the frozen weights of backbone={place['backbone']!r}, "
            f"pretrained={place['pretrained']!r}, and what is loaded here is something else: {len(others)} of "
            f"{len(gone)} tensors differ (first {others[0]!r}). Give the backbone and the pretrained weights that are "
            "in the config.yaml of its run folder, as they were then."
        )
    checkpoint["state_dict"] = {**checkpoint["state_dict"], **found}


def _trained(method: nn.Module) -> set[str]:
    """Return the names of the trained parameters, and of the buffers of modules that have some."""
    found = {name for name, parameter in method.named_parameters(remove_duplicate=False) if parameter.requires_grad}
    buffers = [name for name, _ in method.named_buffers(remove_duplicate=False)]
    own = {name: name.rpartition(".")[0] for name in buffers}
    moving = {place for place in set(own.values()) if _learns(method.get_submodule(place))}
    return found | {name for name in buffers if own[name] in moving}


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _type(print_: str) -> torch.dtype:
    found: torch.dtype = getattr(torch, print_.partition(":")[0])
    return found
