"""How a run computes: compiled, in parts, with which attention. The numbers are the same but for rounding."""

import shutil
from contextlib import ExitStack
from typing import Literal, get_args

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.prompted import PromptedMethod
from numclip_lightning.models.deep_prompts import DeepPrompts

__all__ = ["Attention", "Compute"]

Attention = Literal["auto", "math", "flash", "efficient", "cudnn"]

_BACKENDS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}


class Compute(Callback):
    """Computes the same in another way: faster, or in less memory (docs/performance.md has what each brings).

    Args:
        compile: Whether the image tower is compiled (`torch.compile`). The first step takes a minute or so; on a CPU it
            needs a C++ compiler.
        images_at_once: In training, the image tower sees so many images of a batch at a time and forgets how it came to
            their features; the backward pass computes them again. The loss sees the whole batch, so that a contrast of
            its images is right, which accumulated gradients would divide. None for the whole batch at once.
        checkpoint_text: In training, the text tower keeps only what enters each block; the backward pass computes the
            rest again. For many learned ranks.
        attention: The kernel of PyTorch's attention; `auto` leaves it to PyTorch. `math` is for comparisons.
        accumulate_contrasts: Whether `trainer.accumulate_grad_batches` is accepted for a loss that contrasts the images
            of a batch: each small batch then contrasts its own alone.

    Raises:
        ConfigError: If an argument is unknown or out of range.
    """

    def __init__(
        self,
        compile: bool = False,  # noqa: A002 (the flag's name)
        images_at_once: int | None = None,
        checkpoint_text: bool = False,
        attention: Attention = "auto",
        accumulate_contrasts: bool = False,
    ) -> None:
        check_choice("compute.attention", attention, get_args(Attention))
        if images_at_once is not None and images_at_once < 1:
            raise ConfigError(f"compute.images_at_once is {images_at_once}; give 1 or more, or null for the batch.")
        if compile and shutil.which("g++") is None and shutil.which("clang++") is None:
            raise ConfigError(
                "compute.compile needs a C++ compiler, and there is no g++; install one, or leave it out."
            )
        self.compile, self.images_at_once, self.checkpoint_text = compile, images_at_once, checkpoint_text
        self.attention, self.accumulate_contrasts = attention, accumulate_contrasts
        self._open = ExitStack()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prepare the towers for training.

        Raises:
            ConfigError: If an option does not fit the method, or gradients would be accumulated wrongly.
        """
        if not isinstance(pl_module, OrdinalMethod):
            return
        self._check_accumulation(trainer, pl_module)
        self._start(trainer, pl_module)
        if self.images_at_once is not None:
            _check_parts(pl_module)
            pl_module.clip.images_at_once = self.images_at_once
        if self.checkpoint_text:
            _checkpoint_text(pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prepare a validation by itself; that of a fit finds everything as it is."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._start(trainer, pl_module)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prepare a test."""
        self._start(trainer, pl_module)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prepare a prediction."""
        self._start(trainer, pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave PyTorch's attention as it was."""
        self._open.close()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave method and PyTorch as they were."""
        self._open.close()

    def _start(self, trainer: L.Trainer, method: L.LightningModule) -> None:
        """Compile, and choose the attention, once for a run."""
        self._open.close()
        if self.attention != "auto":
            self._open.enter_context(sdpa_kernel(_BACKENDS[self.attention]))
            self._try_attention(trainer, method.device)
        if isinstance(method, OrdinalMethod):
            self._open.callback(_undo, method)
            if self.compile:
                method.clip.visual.compile()

    def _try_attention(self, trainer: L.Trainer, device: torch.device) -> None:
        x = torch.zeros(1, 1, 8, 64, device=device)
        try:
            with trainer.precision_plugin.forward_context():
                F.scaled_dot_product_attention(x, x, x)
        except RuntimeError as error:
            self._open.close()
            raise ConfigError(
                f"compute.attention={self.attention} is not there on {device} with precision {trainer.precision}; "
                f"choose another, or auto. PyTorch says: {str(error).splitlines()[0]}"
            ) from error

    def _check_accumulation(self, trainer: L.Trainer, method: OrdinalMethod) -> None:
        if trainer.accumulate_grad_batches > 1 and not self.accumulate_contrasts and (part := method.contrast):
            raise ConfigError(
                f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches} divides a batch, but {part} of "
                f"{type(method).__name__} depends on which images are together. For a large batch in little memory, "
                "set data.batch_size to all of it and compute.images_at_once to what fits; if each part shall have a "
                "loss of its own, set compute.accumulate_contrasts=true."
            )


def _undo(method: OrdinalMethod) -> None:
    method.clip.images_at_once = None
    method.clip.visual._compiled_call_impl = None
    if isinstance(method, PromptedMethod):
        method.clip.text.set_checkpointing(False)


def _check_parts(method: OrdinalMethod) -> None:
    """Refuse what is not the same in parts, or would be done twice."""
    visual = method.clip.visual
    if any(isinstance(module, _BatchNorm) for module in visual.modules()) and method.learning_rates.image_encoder:
        raise ConfigError(
            "compute.images_at_once divides a batch, but the image tower normalises by its statistics (BatchNorm); "
            "take a vision transformer, or leave it out."
        )
    if method.leash:
        raise ConfigError(
            "compute.images_at_once computes features twice, which model.leash would count; set one of them."
        )


def _checkpoint_text(method: OrdinalMethod) -> None:
    """Let the text tower forget what it can compute again.

    Raises:
        ConfigError: If it is not run in training, or hooks put tokens into it, which are gone when it is run again.
    """
    if not (isinstance(method, PromptedMethod) and method.words_move()):
        raise ConfigError(
            f"compute.checkpoint_text is for prompts that are learned, and {type(method).__name__} learns none here; "
            "leave it out."
        )
    if isinstance(method.prompts, DeepPrompts):
        raise ConfigError("compute.checkpoint_text can't run deep tokens again; leave it out.")
    method.clip.text.set_checkpointing(True)
