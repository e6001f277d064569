"""A learning rate for each part of a method, and for each layer of its image tower."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from torch import nn

from numclip_lightning.errors import check_weight, refuse

__all__ = ["LearningRates", "by_layer"]


@dataclass(frozen=True)
class LearningRates:
    """The learning rate of each part; 0 freezes the part. The rate of a part that a method does not have is ignored.

    The defaults are those of the default files of NumCLIP's published code. They are not what its published commands
    train with: these lay other files over the defaults, which set every part that is trained to 1e-5 (the
    configurations of published settings do so). For a small tower, an adapter and a head that start from nothing, rates
    of 1e-3 suit better (`configs/counting.yaml`).

    Args:
        image_encoder: The image tower.
        adapter: The residual adapter on image features.
        context: The learned words around the phrases.
        phrases: The learned words of each level.
        head: The head, such as the one from logits to the number.
        text_encoder: The text tower.
        logit_scale: The temperature, as a logarithm.
        layer_decay: By how much the rate of the image tower falls from each layer to the one below it, in (0, 1]: the
            top has `image_encoder`, the layer l below it `image_encoder * layer_decay ** l`, and the stem the lowest
            (`models.layers.image_layers`). 1 gives all layers the same.
        by_size: Whether `image_encoder` is the rate of a tower of a million parameters, and a tower of n millions has
            `image_encoder * n ** (-2 / 3)`: large towers are tuned at lower rates. At 1e-3, the embedded CLIP has
            1.2e-3, a tower of 5 million 3.4e-4, and ViT-B/16 5e-5, near what others tune it with (WiSE-FT 3e-5).

    Raises:
        ConfigError: If a rate is negative or not finite, or the decay is out of its range.
    """

    image_encoder: float = 1e-4
    adapter: float = 1e-5
    context: float = 1e-4
    phrases: float = 1e-4
    head: float = 1e-5
    text_encoder: float = 0.0
    logit_scale: float = 0.0
    layer_decay: float = 1.0
    by_size: bool = False

    def __post_init__(self) -> None:
        """Check every rate."""
        for part, rate in self.by_part().items():
            check_weight(f"learning_rates.{part}", rate, "frozen")
        if not 0 < self.layer_decay <= 1:
            refuse(
                f"learning_rates.layer_decay is {self.layer_decay}; give a number above 0 and up to 1; 1 gives all "
                "layers the same rate."
            )

    def by_part(self) -> dict[str, float]:
        """Return the rate of each part."""
        return {name: value for name, value in asdict(self).items() if name not in ("layer_decay", "by_size")}

    def factor(self, part: str, parameters: Sequence[nn.Parameter]) -> float:
        """Return what the rate of a part is multiplied with, for all its parameters."""
        if not self.by_size or part != "image_encoder":
            return 1.0
        millions = sum(parameter.numel() for parameter in parameters) / 1e6
        return float(millions ** (-2 / 3))


def by_layer(
    part: str, parameters: Sequence[nn.Parameter], layers: Sequence[Sequence[nn.Parameter]], decay: float
) -> Iterator[tuple[str, list[nn.Parameter], float]]:
    """Yield the groups of a part: a name, the parameters and their share of the part's rate.

    Args:
        part: The name of the part.
        parameters: All its parameters.
        layers: Parameters by layer, the lowest first; none makes one group. What is in no layer is counted with the
            top.
        decay: By how much the rate falls from each layer to the one below it, in (0, 1].
    """
    if not layers:
        yield part, list(parameters), 1.0
        return
    top = len(layers) - 1
    layer_of = {parameter: number for number, layer in enumerate(layers) for parameter in layer}
    for number in range(len(layers)):
        members = [parameter for parameter in parameters if layer_of.get(parameter, top) == number]
        yield f"{part}.{number}", members, decay ** (top - number)
