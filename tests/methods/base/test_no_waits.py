"""No training step asks for a number of its tensors: on a device, each such question waits for all that came before."""

import traceback
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from numclip_lightning.methods import AttentionMIL, NumCLIP, OrdinalMethod
from support.tiny_fit import TINY, TRAINED, batch_of

# A number for Python, and sizes that depend on numbers.
ASKING = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.unique", "aten._unique")
TARGETS = [0.0, 6.0, 2.0, 5.0]


class Questions(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records what asks a tensor for numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asked: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func).startswith(ASKING):
            # `one_hot` looks at its argument on a CPU alone.
            frames = reversed(traceback.extract_stack()[:-1])
            line = next(frame.line for frame in frames if frame.line and "/torch/" not in frame.filename)
            if "one_hot(" not in line:
                self.asked.append(f"{func} in {line}")
        return func(*args, **(kwargs or {}))


def asked_in_a_step(method: OrdinalMethod) -> list[str]:
    batch = batch_of(method, TARGETS)
    with Questions() as questions:
        output = method._output(batch)
        torch.autograd.backward(torch.stack(list(method._joined_losses(output, batch).values())).sum())
    return list(questions.asked)


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if kind is not AttentionMIL], ids=lambda kind: kind.__name__)
def test_forward_loss_and_backward_ask_nothing(kind: type[OrdinalMethod]) -> None:
    short = {name: 2 for name in ("num_context", "deep_tokens") if getattr(kind, name, None)}
    assert asked_in_a_step(kind(**{**TINY, **short}).train()) == []


def test_a_question_is_seen() -> None:
    class Asking(NumCLIP):  # type: ignore[misc]
        def losses(self, output: Any, batch: Any) -> Any:
            losses = super().losses(output, batch)
            assert float(losses["value"].detach()) >= 0
            return losses

    assert asked_in_a_step(Asking(**TINY).train()) == [
        'aten._local_scalar_dense.default in assert float(losses["value"].detach()) >= 0'
    ]
