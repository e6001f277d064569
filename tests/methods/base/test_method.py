"""Construction of a method: arguments, parts, batches, and the rules that every method keeps."""

import inspect
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from numclip_lightning import methods
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base import LearningRates, OptimizerSpec, OrdinalMethod, Output, SchedulerSpec
from numclip_lightning.scale import OrdinalScale


class Toy(OrdinalMethod):
    """A method as somebody might add it, with parts that can be left out or named twice."""

    modules_of: dict[str, list[str]]
    learning_rates = LearningRates(adapter=0)
    lr_scheduler = None

    def build(self) -> None:
        super().build()
        self.tower, self.head = nn.Linear(3, 3), nn.Linear(3, 3)

    def encode_look(self, images: Tensor) -> Tensor:
        return self.tower(images.mean(dim=(2, 3)))  # type: ignore[no-any-return]

    def decode_features(self, features: Tensor) -> Output:
        logits = self.head(features)
        return Output(logits, logits.softmax(dim=1) @ self.scale.centers)

    def losses(self, output: Output, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"value": (output.value - batch["target"]).abs().mean()}

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        return {
            part: [parameter for name in names for parameter in self.get_submodule(name).parameters()]
            for part, names in self.modules_of.items()
        }


def toy(modules_of: dict[str, list[str]], **arguments: Any) -> Toy:
    return Toy(scale=OrdinalScale(0, 2), modules_of=modules_of, **arguments)


def subclasses(kind: type) -> set[type]:
    children: list[type] = kind.__subclasses__()
    return {kind, *(found for child in children for found in subclasses(child))}


EVERY_CLASS = sorted(
    (kind for kind in subclasses(OrdinalMethod) if kind.__module__.startswith("numclip_lightning.")),
    key=lambda kind: kind.__name__,
)


def test_parts_are_trained_at_their_rate_or_frozen_and_set_to_evaluation() -> None:
    method = toy({"head": ["head"], "adapter": ["tower"]})

    assert [name for name, p in method.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    assert (method.head.training, method.tower.training) == (True, False)
    method.eval().train()
    assert (method.head.training, method.tower.training) == (True, False)


def test_a_parameter_without_a_part_is_named() -> None:
    with pytest.raises(ConfigError, match=r"without a part: tower\.weight, tower\.bias; name them in parts"):
        toy({"head": ["head"]})


def test_a_parameter_in_two_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match="belongs to the parts 'head' and 'adapter'"):
        toy({"head": ["head", "tower"], "adapter": ["tower"]})


def test_levels_join_the_batch_on_the_host_if_there_are_targets() -> None:
    method = toy({"head": ["head", "tower"]})

    batch = method.on_before_batch_transfer({"target": torch.tensor([2.0, 0.0, 1.0])}, 0)
    assert batch["level"].tolist() == batch["rank"].tolist() == [2, 0, 1]
    unlabelled = {"image": torch.zeros(1, 3, 4, 4)}
    assert method.on_before_batch_transfer(unlabelled, 0) is unlabelled


def test_plain_values_become_specs_and_specs_become_plain_hyperparameters() -> None:
    parts = {"head": ["head", "tower"]}
    plain: dict[str, Any] = {
        "learning_rates": {"head": 0.5},
        "optimizer": {"name": "AdamW", "args": {"betas": [0.8, 0.9]}},
        "lr_scheduler": {"name": "CosineAnnealingLR"},
    }
    method: Any = Toy(scale={"minimum": 0, "maximum": 2}, modules_of=parts, **plain)  # type: ignore[arg-type]

    assert method.scale == OrdinalScale(0, 2)
    assert method.learning_rates == LearningRates(head=0.5)
    assert method.optimizer == OptimizerSpec("AdamW", {"betas": [0.8, 0.9]})
    assert method.lr_scheduler == SchedulerSpec("CosineAnnealingLR")
    assert method.hparams["scale"] == OrdinalScale(0, 2).to_dict()
    assert method.hparams["learning_rates"]["head"] == 0.5
    assert method.hparams["modules_of"] == parts
    assert method.hparams["_class_path"] == f"{__name__}.Toy"
    again = Toy(**{name: value for name, value in method.hparams.items() if name != "_class_path"})
    assert (again.scale, again.optimizer, again.hparams) == (method.scale, method.optimizer, method.hparams)


def test_an_argument_without_its_name_is_refused() -> None:
    positional: Any = Toy
    with pytest.raises(TypeError, match="positional argument"):
        positional(OrdinalScale(0, 2), {"head": ["head", "tower"]})


@pytest.mark.parametrize("kind", EVERY_CLASS, ids=lambda kind: kind.__name__)
class TestEveryClass:
    def test_is_a_dataclass_of_its_own_with_the_defaults_that_it_shows(self, kind: Any) -> None:
        assert is_dataclass(kind)
        assert "__dataclass_fields__" in vars(kind)
        for argument in fields(kind):
            if argument.default is not MISSING:
                assert argument.default is getattr(kind, argument.name)

    def test_writes_no_constructor(self, kind: Any) -> None:
        own = inspect.signature(kind).parameters
        assert set(own) == {argument.name for argument in fields(kind) if argument.init}
        assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in own.values())

    def test_explains_every_argument_once(self, kind: Any) -> None:
        explained = "\n".join(inspect.cleandoc(base.__doc__ or "") for base in kind.__mro__ if base in EVERY_CLASS)
        for argument in fields(kind):
            if argument.init:
                assert f"\n    {argument.name}: " in explained


def test_the_package_exports_every_method_of_the_folder() -> None:
    public = {kind.__name__ for kind in EVERY_CLASS if not kind.__module__.startswith("numclip_lightning.methods.base")}
    assert public <= set(methods.__all__)
    assert methods.__all__ == sorted(methods.__all__)
    assert all(hasattr(methods, name) for name in methods.__all__)
