"""Base class of all methods: arguments, the order of construction, parts that are trained or frozen."""

from collections.abc import Callable, Sequence
from dataclasses import field, fields
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.construction import KeywordDataclass, from_plain, plain_arguments
from numclip_lightning.methods.base.frozen import put_back, take_out
from numclip_lightning.methods.base.imbalance import ImbalanceSpec
from numclip_lightning.methods.base.looks import LookingSteps
from numclip_lightning.methods.base.many_values import check_number_of_levels
from numclip_lightning.methods.base.mixing import MixSpec
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.raters import Raters, check_raters
from numclip_lightning.methods.base.towers import PatchDropSpec
from numclip_lightning.methods.base.tuning import Tune
from numclip_lightning.metrics import DEFAULT, choose, default_tolerance
from numclip_lightning.models.image_tower import ImageTower
from numclip_lightning.scale import OrdinalScale

__all__ = ["OrdinalMethod"]


class OrdinalMethod(LookingSteps, KeywordDataclass):
    """Base class of the published methods.

    A method declares its own arguments as fields (see `KeywordDataclass`) and implements `check` (arguments that
    contradict each other), `build` (towers, prompts, heads), `decode_features` (from image features to an `Output`),
    `losses` and `parts`. Steps, metrics, checkpoints and optimisers are shared. Features are kept between
    `encode_images` and `decode_features` if the image tower is frozen.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, `local-dir:PATH`, or `mini`, the small CLIP in the package.
        pretrained: An open_clip tag, a weights file, `"auto"` for the weights in a `local-dir` folder, or None for
            random weights.
        learning_rates: The learning rate of each part; 0 freezes it.
        tune: How the towers that are trained are tuned: `full`, `svd`, `lora`, `last_n`, or a mapping with more
            (see `TuneSpec`).
        patch_dropout: Which patches a vision transformer does not see in training; None shows all.
        leash: The weight of the mean distance, `1 - cos`, of image features to those of the frozen CLIP; 0 leaves it
            out. It costs a forward pass of a copy of the tower.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit; None takes one that fits the scale, 5 for
            ages (`metrics.default_tolerance`).
        metrics: What is measured on validation and test images: keys and groups of `docs/metrics.md`, such as
            `[default, rmse, amae]`. Training measures those of the default group that are among them.
        mix: Mixing of training images (CutMix, mixup) and of their losses; None leaves them as they are.
        imbalance: Remedies for few images of some numbers, all off by default.
        raters: What losses make of targets that several raters have given: their `mean` alone, or the `distribution` of
            their votes, where a list has them or their spread (`docs/raters.md`).
        mirror: Whether evaluation also looks at the mirror image of an image, and reads the mean feature. Not where
            left and right matter.
        test_time_augmentation: Whether evaluation also looks at the turns by quarters and the closer crops that
            training shows, and reads the mean feature. A prediction costs as many times a single look's as there are
            looks: with mirror images 4 with crops, 8 with turns.
        gather: Whether several processes compute the loss of their images together, as one process would with a batch
            of all of them: for losses that contrast the images of a batch (`docs/reliability.md`).

    Attributes:
        clip: The image tower, alone or with its text tower.
        found_again: The frozen weights that checkpoints leave out, see `frozen.find_again`; none unless
            `checkpoint.frozen` asks for it.

    Raises:
        ConfigError: If an argument is unknown or out of range, or arguments contradict each other; ScaleError and
            BackboneError are kinds of it.
    """

    scale: OrdinalScale
    backbone: str = "ViT-B-16-quickgelu"
    pretrained: str | None = "openai"
    learning_rates: LearningRates = LearningRates()
    tune: Tune = "full"
    patch_dropout: PatchDropSpec | None = None
    leash: float = 0.0
    optimizer: OptimizerSpec = OptimizerSpec()
    lr_scheduler: SchedulerSpec | None = SchedulerSpec()
    tolerance: float | None = None
    metrics: Sequence[str] = DEFAULT
    mix: MixSpec | None = None
    imbalance: ImbalanceSpec = ImbalanceSpec()
    raters: Raters = "mean"
    mirror: bool = False
    test_time_augmentation: bool = False
    gather: bool = False
    clip: ImageTower = field(init=False)
    level_borders: Tensor = field(init=False)

    # Whether `losses` reads the distribution of the votes on each image, `batch["distribution"]`.
    reads_raters: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Construct the method; this is the order for all methods."""
        for argument in fields(self):
            if argument.init:
                setattr(self, argument.name, from_plain(argument.type, getattr(self, argument.name)))
        super().__init__()
        # `_class_path` says to `numclip test --ckpt_path` which method the checkpoint holds.
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        self.save_hyperparameters({**plain_arguments(self), "_class_path": path}, logger=False)
        for check in self.checks():
            check()
        self.build_metrics(self._tolerance, self.metrics)
        # On the device, where `one_hot_output` needs them: copying them there in each step would wait for it.
        self.register_buffer("level_borders", self.scale.borders, persistent=False)
        self.build_looks()
        self.build()
        self.build_smoothing()
        self._freeze_parts()
        self.found_again: dict[str, str] = {}

    def checks(self) -> list[Callable[[], object]]:
        """Return all checks of arguments, which are called before anything is built."""
        return [
            self.check_towers,
            self.check_looks,
            lambda: check_number_of_levels(self.scale),
            self.check,
            lambda: self.check_imbalance(self.mix),
            lambda: check_raters(self.raters, type(self).__name__, self.reads_raters),
            lambda: choose(self.metrics, self._tolerance),
        ]

    @property
    def _tolerance(self) -> float:
        return default_tolerance(self.scale) if self.tolerance is None else self.tolerance

    def check(self) -> None:
        """Raise ConfigError if arguments contradict each other; a method calls `super().check()` first.

        `errors.refuse` in place of `raise` lets a message name what the checks after it find too.
        """

    def build(self) -> None:
        """Build towers, prompts and heads; a method calls `super().build()` first."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what is in `found_again`; a method that keeps more calls this first."""
        if self.found_again:
            take_out(self, checkpoint, self.found_again)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put back what was left out; a method that reads more calls this first.

        Raises:
            ConfigError: If the backbone here is another one.
        """
        put_back(self, checkpoint)
        super().on_load_checkpoint(checkpoint)

    def encode_look(self, images: Tensor) -> Tensor:
        """Encode normalised images (B, 3, H, W) with the image tower; returns unnormalised features (B, D)."""
        return self.clip.encode_image(images)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; a frozen module stays in evaluation.

        Otherwise the statistics of a frozen tower's batch normalisation would drift with the data.
        """
        super().train(mode)
        for name, module in self.named_modules():
            trained = [parameter.requires_grad for parameter in module.parameters()]
            if name and trained and not any(trained):
                module.eval()
        return self

    def training_targets(self, remedy: str = "") -> list[tuple[float, ...]]:
        """Return the targets of each training image, in the order of its index.

        Args:
            remedy: What else the user can do without a datamodule, for the message.

        Raises:
            ConfigError: If the trainer has no datamodule with `labels`.
        """
        return [label.targets for label in self.training_labels(remedy)]

    def training_labels(self, remedy: str = "") -> Sequence[Any]:
        """Return what the datamodule knows of each training image (`data.base.Label`); see `training_targets`."""
        # Any datamodule with `labels`: methods do not import the data room.
        labels: Any = getattr(getattr(self.trainer, "datamodule", None), "labels", None)
        if labels is None:
            raise ConfigError(
                f"{type(self).__name__} reads the training targets before the first step; fit it with a datamodule, "
                f"whose labels('train') has them{remedy}."
            )
        found: Sequence[Any] = labels("train")
        return found

    def _freeze_parts(self) -> None:
        """Freeze the parts whose learning rate is 0 and set them to evaluation.

        Raises:
            ConfigError: If a parameter belongs to no part, or to two.
        """
        rates = self.learning_rates.by_part()
        owner: dict[nn.Parameter, str] = {}
        for part, parameters in self.parts().items():
            for parameter in parameters:
                if parameter in owner:
                    raise ConfigError(f"a parameter belongs to the parts {owner[parameter]!r} and {part!r}.")
                owner[parameter] = part
                parameter.requires_grad_(rates[part] > 0)
        homeless = [name for name, parameter in self.named_parameters() if parameter not in owner]
        if homeless:
            raise ConfigError(f"parameters without a part: {', '.join(homeless)}; name them in parts().")
        self.train()
