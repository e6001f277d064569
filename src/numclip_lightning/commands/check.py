"""`numclip check`: what a dataset holds and what is wrong with it, before anything is trained."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from numclip_lightning.commands.run_data import add_data
from numclip_lightning.commands.survey_facts import facts_of
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.data.base.survey import Survey, survey
from numclip_lightning.errors import ConfigError
from numclip_lightning.models.loading import load_image_tower
from numclip_lightning.progress import watched
from numclip_lightning.report.survey import survey_text
from numclip_lightning.runs.parser import Parser
from numclip_lightning.runs.terminal import unwrap_errors
from numclip_lightning.scale import OrdinalScale

__all__ = ["check"]

_log = logging.getLogger(__name__)


def check(words: Sequence[str]) -> int:
    """Run `numclip check --config FILE [--data.KEY=VALUE]... [--output DIR]`.

    Args:
        words: The words after `numclip check`.

    Returns:
        0; 1 if images can't be used, have two numbers, or are in two splits.

    Raises:
        ConfigError: If an argument is wrong.
    """
    parser = _parser()
    given = parser.parse_args(list(words))
    if given.near is not None and not -1 <= given.near <= 1:
        raise ConfigError(f"--near is {given.near}; give a cosine, such as 0.99, or null.")
    with unwrap_errors():
        data: OrdinalDataModule = parser.instantiate(given).data
    scale, backbone = _model_of(given.config or [])
    found = survey(data)
    features = _features(data, found, backbone) if backbone and given.near is not None else None
    facts = facts_of(found, scale, features, given.near)
    print(survey_text(facts))  # noqa: T201
    if given.output:
        _write(facts, Path(given.output))
    return int(not facts["usable"])


def _parser() -> Parser:
    parser = Parser(
        prog="numclip check",
        usage="numclip check [--config FILE]... [--data.KEY=VALUE]... [--output DIR]",
        description="Say what a dataset holds: counts, numbers, sizes, faults, images twice or nearly twice, images "
        "with two numbers, what splits share, attributes against numbers. Nothing is refused, all is listed. With a "
        "model section also how many images each level has, and how varied they are to its image tower.",
    )
    add_data(parser)
    parser.add_argument("--output", type=str | None, help="A folder for check.json and check.html.")
    parser.add_argument(
        "--near",
        type=float | None,
        default=0.99,
        help="Images whose features have a cosine of at least this are nearly the same; null encodes none.",
    )
    return parser


def _model_of(files: Sequence[object]) -> tuple[OrdinalScale | None, tuple[str, str | None] | None]:
    """Return the scale of the model sections, and its backbone with the weights; later files go before earlier ones."""
    arguments: dict[str, Any] = {}
    for file in files:
        content = yaml.safe_load(Path(str(file)).read_text(encoding="utf-8"))
        model = content.get("model") if isinstance(content, dict) else None
        # Nothing of it is built: a method is not needed, and its weights may be far away.
        arguments |= (model.get("init_args") or {}) if isinstance(model, dict) else {}
    scale = arguments.get("scale")
    backbone = (arguments["backbone"], arguments.get("pretrained", "openai")) if "backbone" in arguments else None
    return OrdinalScale(**scale) if isinstance(scale, dict) else None, backbone


@torch.no_grad()
def _features(data: OrdinalDataModule, found: Survey, backbone: tuple[str, str | None]) -> torch.Tensor:
    """Return the features of all images that can be read, of length one, (N, D), in the order of the splits."""
    tower = load_image_tower(*backbone).eval()
    tower.to("cuda" if torch.cuda.is_available() else "cpu")
    data.follow_backbone(tower.image_size, tower.mean, tower.std)
    data.augment = False
    features = []
    for part in found.parts:
        bad = {number for number, seen in enumerate(part.looked) if seen.fault}
        usable = [number for number in range(len(part.labels)) if number not in bad]
        if not usable:
            continue
        images: Any = torch.utils.data.Subset(data.dataset(part.name), usable)
        loader = torch.utils.data.DataLoader(images, data.batch_size, num_workers=data.num_workers)
        for batch in watched(loader, len(loader), f"encoding {part.name} images", "batch"):
            encoded = tower.encode_image(batch["image"].to(next(tower.parameters()).device))
            features.append(torch.nn.functional.normalize(encoded.float(), dim=1).cpu())
    return torch.cat(features) if features else torch.zeros(0, tower.embed_dim)


def _write(facts: dict[str, Any], folder: Path) -> None:
    """Write the facts as JSON and, where Jinja is there, as a page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "check.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    try:
        from numclip_lightning.report.html.survey import write_survey_page
    except ModuleNotFoundError as error:
        _log.info("no check.html: it needs %s; pip install 'numclip-lightning[report]'", error.name)
        return
    write_survey_page(facts, folder / "check.html")
    _log.info("written to %s", folder)
