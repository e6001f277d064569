"""Every file under configs/backbones names a model and weights that fit each other, and its images' normalisation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import yaml
from lightning import Callback, LightningModule, Trainer
from PIL import Image

from numclip_lightning.images.transforms import Normalization, build_transform
from numclip_lightning.methods import CosineClassifier, NumCLIP
from numclip_lightning.methods.base import LearningRates
from numclip_lightning.models import load_image_tower
from numclip_lightning.models.activations import check_activation
from numclip_lightning.models.converting import convert_clip, convert_longclip, stretch
from numclip_lightning.models.loading import load_model
from numclip_lightning.models.normalization import trained_normalization
from numclip_lightning.models.weights import check_text
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.scale import OrdinalScale
from support.command import TINY, Numclip
from support.places import CONFIGS, REPOSITORY
from support.tiny_fit import SCALE, TARGETS, loader, quiet_trainer, without_gradient

BACKBONES = sorted(CONFIGS.glob("backbones/*.yaml"))
# The converted ones: the model that they are of.
CONVERTED = {"farl_vit_b16": "ViT-B-16-quickgelu", "longclip_b16": "ViT-B-16-quickgelu"}
IMAGE_ONLY = {"metaclip2_vit_h14", "siglip_vit_b16", "siglip2_vit_b16"}
UNIT = {"mobileclip_s1", "mobileclip_b", "mobileclip2_s0"}
HALF = {"laion_vit_l14", "siglip_vit_b16", "siglip2_vit_b16"}
# Phrases of more than the 77 tokens of other towers.
RUBRICS = OrdinalScale(
    minimum=0,
    maximum=6,
    template="a picture with {}",
    levels=[
        {"phrase": "hardly any: " + "one or two small dots in a corner, " * 12, "start": 0},
        {"phrase": "many: " + "dots in each quadrant, large and small, " * 12, "start": 4},
    ],
)


def arguments(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["model"]["init_args"]
    return found


def model_of(file: Path) -> tuple[str, str | None]:
    """The model and tag of a file; converted ones have no tag."""
    if name := CONVERTED.get(file.stem):
        return name, None
    given = arguments(file)
    return given["backbone"], given["pretrained"]


@pytest.mark.parametrize("file", BACKBONES, ids=lambda file: file.stem)
def test_weights_fit_the_model_and_images_their_weights(file: Path) -> None:
    name, tag = model_of(file)
    config = open_clip.get_model_config(name)
    assert config is not None
    check_text(name, config, words=file.stem not in IMAGE_ONLY)
    if tag is not None:
        found = open_clip.get_pretrained_cfg(name, tag)
        assert found, f"open_clip has no {tag} of {name}"
        check_activation(name, tag, config, found)
        mean = trained_normalization(name, tag)
        assert mean is not None
        others = {**dict.fromkeys(UNIT, (0.0,) * 3), **dict.fromkeys(HALF, (0.5,) * 3)}
        assert mean[0] == others.get(file.stem, open_clip.OPENAI_DATASET_MEAN)


@pytest.mark.parametrize("file", BACKBONES[:2], ids=lambda file: file.stem)
def test_a_file_goes_over_a_run(file: Path, numclip: Numclip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    words = ["--config", "configs/aesthetics.yaml", "--config", str(file), *TINY[:2], *numclip.small]
    cli = NumClipCLI(["test", *words], until="built")
    assert cli.datamodule.image_size is None
    # The configuration below it normalises as the published code, with ImageNet's mean.
    assert (cli.datamodule.preprocess, cli.datamodule.normalize) == ("published", "backbone")
    assert cli.model.clip.image_size == 32


def converted(file: Path) -> dict[str, Any]:
    """What an overlay of converted weights names, made in this folder from random weights, as its first lines say."""
    name = CONVERTED[file.stem]
    state = load_model(name, None, words=True).model.state_dict()
    if file.stem.startswith("longclip"):
        longer = stretch(state["positional_embedding"])
        torch.save({**state, "positional_embedding": longer, "positional_embedding_res": longer}, "weights.pt")
        convert_longclip(Path("weights.pt"), Path("longclip"))
    else:
        torch.save(state, "weights.pt")
        convert_clip(Path("weights.pt"), Path("farl"), name)
    Path("weights.pt").unlink()
    return arguments(file)


class AtTheStart(Callback):
    """What is trained, as it was before the first step."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.trained = {name: p.detach().clone() for name, p in pl_module.named_parameters() if p.requires_grad}


# The last blocks alone are tuned, so that the largest tower needs its weights and little more; see docs/backbones.md.
@pytest.mark.slow
@pytest.mark.parametrize("file", BACKBONES, ids=lambda file: file.stem)
@pytest.mark.filterwarnings("ignore:Found .* module.s. in eval mode")
def test_a_step_on_random_weights(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = converted(file) if file.stem in CONVERTED else {**arguments(file), "pretrained": None}
    kind, words = (CosineClassifier, 0.0) if file.stem in IMAGE_ONLY else (NumCLIP, 1e-3)
    rates = LearningRates(image_encoder=1e-4, adapter=0, context=words, phrases=0, head=1e-3)
    scale = RUBRICS if file.stem.startswith("longclip") else SCALE
    method = kind(scale=scale, learning_rates=rates, lr_scheduler=None, tune="last_n", **given)
    for weights in tmp_path.rglob("*.safetensors"):
        weights.unlink()
    assert sum(parameter.numel() for parameter in method.clip.visual.parameters()) > 5e6
    side = method.clip.image_size
    samples = [
        {"image": torch.randn(3, side, side), "target": torch.tensor(target), "index": torch.tensor(index)}
        for index, target in enumerate(TARGETS[:2])
    ]
    start = AtTheStart()
    trainer = quiet_trainer(max_steps=1, num_sanity_val_steps=0, limit_val_batches=0, callbacks=[start])
    trainer.fit(method, loader(samples), loader(samples))
    assert torch.isfinite(trainer.callback_metrics["train_loss"])
    assert without_gradient(method) == []
    after = dict(method.named_parameters())
    moved = {name for name, tensor in start.trained.items() if not torch.equal(tensor, after[name])}
    # Not all move: the last normalisation in a block of a new ResNet has weights of 0, and lets no gradient through.
    assert {name.partition(".")[0] for name in moved} >= {"clip", "prompts" if words else "head"}
    assert all(torch.isfinite(after[name]).all() for name in moved)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileCLIP-S1", "MobileCLIP2-S0"])
def test_a_grey_image_gives_open_clip_s_own_feature(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = load_model(name, None, words=True).model.eval()
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    tag = open_clip.get_pretrained_cfg(name, open_clip.list_pretrained_tags_by_model(name)[0])
    config = {"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {k: tag[k] for k in ("mean", "std")}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    theirs, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    grey = Image.new("RGB", (300, 300), (128, 128, 128))
    tower = load_image_tower(name, str(folder / "open_clip_pytorch_model.bin")).eval()
    own = build_transform(tower.image_size, "clip", train=False, normalization=Normalization(tower.mean, tower.std))
    with torch.no_grad():
        expected = theirs.eval().encode_image(preprocess(grey)[None])
        found = tower.encode_image(own(np.asarray(grey))[None])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
