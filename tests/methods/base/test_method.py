from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods import LearningRates, OptimizerSpec, OrdinalMethod, Output
from numclip_lightning.scale import OrdinalScale


class Toy(OrdinalMethod):
    """A method as somebody might add it, with parts that can be left out or named twice."""

    def __init__(self, parts: dict[str, list[str]]) -> None:
        super().__init__(OrdinalScale(0, 2), LearningRates(adapter=0), OptimizerSpec(), None, tolerance=1)
        self.tower, self.head = nn.Linear(3, 3), nn.Linear(3, 3)
        self._names = parts
        self.freeze_parts()

    def encode_images(self, images: Tensor) -> Tensor:
        return self.tower(images.mean(dim=(2, 3)))  # type: ignore[no-any-return]

    def read(self, features: Tensor) -> Output:
        logits = self.head(features)
        return Output(logits, logits.softmax(dim=1) @ self.scale.centers)

    def losses(self, output: Output, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"value": (output.value - batch["target"]).abs().mean()}

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        return {
            part: [parameter for name in names for parameter in self.get_submodule(name).parameters()]
            for part, names in self._names.items()
        }


def test_parts_are_trained_at_their_rate_or_frozen_and_set_to_evaluation() -> None:
    method = Toy({"head": ["head"], "adapter": ["tower"]})

    assert [name for name, p in method.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    assert (method.head.training, method.tower.training) == (True, False)
    method.eval().train()
    assert (method.head.training, method.tower.training) == (True, False)


def test_a_parameter_without_a_part_is_named() -> None:
    with pytest.raises(ConfigError, match=r"without a part: tower\.weight, tower\.bias; name them in parts"):
        Toy({"head": ["head"]})


def test_a_parameter_in_two_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match="belongs to the parts 'head' and 'adapter'"):
        Toy({"head": ["head", "tower"], "adapter": ["tower"]})


def test_levels_join_the_batch_on_the_host_where_there_are_targets() -> None:
    method = Toy({"head": ["head", "tower"]})

    batch = method.on_before_batch_transfer({"target": torch.tensor([2.0, 0.0, 1.0])}, 0)
    assert batch["level"].tolist() == batch["rank"].tolist() == [2, 0, 1]
    unlabelled = {"image": torch.zeros(1, 3, 4, 4)}
    assert method.on_before_batch_transfer(unlabelled, 0) is unlabelled
