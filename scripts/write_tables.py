"""Write the tables of methods and datasets in README.md and docs/methods/ from what the repository contains.

    python scripts/write_tables.py            # write them
    python scripts/write_tables.py --check    # exit with code 1 if a page is out of date

A method's row comes from three places: the overlay in configs/methods/ (its first line and its class), the page of the
same name in docs/methods/ (kind, loss, number), and the method itself, which is built to see which parts it trains.
A dataset's row comes from its file in configs/ (first line, datamodule, backbone). What is written here is in a page
between the lines `<!-- NAME -->` and `<!-- end of NAME -->`.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from numclip_lightning.methods import LearningRates, OrdinalMethod
from numclip_lightning.methods.base.solved import SolvedMethod
from numclip_lightning.runs.learns import build_small, merged

REPOSITORY = Path(__file__).parents[1]

# The words of the tables for the parts of a method. A part without a word here is shown by its own name.
WORDS = {"image_encoder": "image tower", "phrases": "words", "text_encoder": "text tower", "logit_scale": "temperature"}

# The kinds of methods, in the order of docs/methods/README.md, each with a sentence below its heading.
KINDS = {
    "guided by language": "Prompts of phrases or numbers are compared with the image.",
    "training-free and few-shot": "The image tower is frozen, and its features are computed once.",
    "without language": "The image tower is trained, at the rate of the run. No text tower is loaded.",
}

# The rows of a page's table of facts that are written by hand.
BY_HAND = ("kind", "loss", "number")


class TableError(Exception):
    """A file lacks what a table needs."""


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Attributes:
        name: Its short name, "CoOp".
        about: What it is, in one line.
        overlay: Its overlay under configs/methods, or None for the method of the runs themselves.
        page: Its page in docs/methods.
        facts: The rows of the page's table, in order.
    """

    name: str
    about: str
    overlay: Path | None
    page: Path
    facts: dict[str, str]


def first_line(file: Path) -> str:
    """Return the first line of a configuration, a comment, without its mark and final full stop."""
    line = file.read_text(encoding="utf-8").partition("\n")[0]
    if not line.startswith("# "):
        raise TableError(f"{file}: the first line must be a comment that says what the file is.")
    return line[2:].rstrip().removesuffix(".")


def trained_parts(method: OrdinalMethod) -> str:
    """Return the parts of a method that a fit changes, in words: "image tower, head"."""
    parts = {part for part, found in method.parts().items() if any(parameter.requires_grad for parameter in found)}
    words = [WORDS.get(field.name, field.name) for field in fields(LearningRates) if field.name in parts]
    if words and isinstance(method, SolvedMethod):
        words.append("solved")
    return ", ".join(words) or "nothing"


def build(run: Path, overlay: Path | None) -> OrdinalMethod:
    """Build the method of an overlay on a run, with random weights for the embedded CLIP."""
    model = _load(run)["model"]
    if overlay is not None:
        model = merged(model, _load(overlay)["model"])
    return build_small(model)


def read_facts(page: Path) -> dict[str, str]:
    """Return the table of facts of a method's page."""
    block = _block(page.read_text(encoding="utf-8"), "facts", page)
    facts = dict(re.findall(r"^\| (\w+) \| (.*) \|$", block, flags=re.MULTILINE))
    missing = [name for name in BY_HAND if name not in facts]
    if missing:
        raise TableError(f"{page}: the table of facts has no row {' or '.join(missing)}.")
    if facts["kind"] not in KINDS:
        raise TableError(f"{page}: the kind {facts['kind']!r} is none of {', '.join(KINDS)}.")
    return facts


def find_methods(root: Path) -> list[Method]:
    """Return all methods: NumCLIP, then those of the overlays by name."""
    found = [_method("NumCLIP", "the method of every run in configs/", None, root / "docs/methods/numclip.md", root)]
    for overlay in root.glob("configs/methods/*.yaml"):
        name = re.fullmatch(r"Overlay: ([^:]+): (.+)", first_line(overlay))
        if name is None:
            raise TableError(f"{overlay}: the first line must be `# Overlay: NAME: WHAT IT IS.`")
        page = root / "docs" / "methods" / f"{overlay.stem}.md"
        if not page.exists():
            raise TableError(f"{overlay}: its page {page} is missing.")
        found.append(_method(name[1], name[2], overlay, page, root))
    return [found[0], *sorted(found[1:], key=lambda method: method.name.casefold())]


def _method(name: str, about: str, overlay: Path | None, page: Path, root: Path) -> Method:
    method = build(root / "configs" / "counting.yaml", overlay)
    derived = {
        "overlay": f"`{overlay.relative_to(root)}`" if overlay else "none",
        "class": f"`{type(method).__name__}`",
        "trains": trained_parts(method),
    }
    given = read_facts(page)
    return Method(name, about, overlay, page, {**derived, **{row: given[row] for row in BY_HAND}})


def page_table(method: Method) -> str:
    """Return the facts of a method, for its own page."""
    return _table(("", ""), method.facts.items())


def readme_table(methods: Sequence[Method]) -> str:
    """Return the table of overlays in README.md."""
    rows = []
    for method in methods:
        if method.overlay:
            text = f"[{method.name}](docs/methods/{method.page.name}): {method.about}"
            rows.append((method.facts["overlay"], text, method.facts["trains"]))
    return _table(("overlay", "method", "trains"), rows)


def index_tables(methods: Sequence[Method]) -> str:
    """Return the tables of docs/methods/README.md, one for each kind of method."""
    blocks = []
    for kind, sentence in KINDS.items():
        rows = [
            (f"[{method.name}]({method.page.name})", f"`{method.overlay.stem}`" if method.overlay else "none",
             *(method.facts[name] for name in ("trains", "loss", "number")))
            for method in methods
            if method.facts["kind"] == kind
        ]  # fmt: skip
        table = _table(("method", "overlay", "trains", "loss", "the number"), rows)
        blocks.append(f"## {kind.capitalize()}\n\n{sentence}\n\n{table}")
    return "\n\n".join(blocks)


def dataset_table(root: Path, pages: str) -> str:
    """Return the table of runs.

    Args:
        root: The repository.
        pages: The way to docs/datasets from the page of the table; a run is linked to its page there, if it has one.
    """
    rows = []
    for file in sorted(root.glob("configs/*.yaml")):
        run, name = _load(file), f"`{file.relative_to(root)}`"
        backbone = run["model"]["init_args"]["backbone"]
        page = f"{file.stem}.md"
        name = f"[{name}]({pages}{page})" if (root / "docs" / "datasets" / page).exists() else name
        rows.append((name, first_line(file), f"`{run['data']['class_path']}`", f"`{backbone}`"))
    return _table(("file", "data", "datamodule", "backbone"), rows)


def write_tables(root: Path, *, check: bool = False) -> list[Path]:
    """Write every table; return the pages that were out of date.

    Args:
        root: The repository.
        check: Leave the pages as they are.

    Raises:
        TableError: If a file lacks what a table needs.
    """
    methods = find_methods(root)
    blocks: dict[Path, dict[str, str]] = {method.page: {"facts": page_table(method)} for method in methods}
    blocks[root / "README.md"] = {"datasets": dataset_table(root, "docs/datasets/"), "methods": readme_table(methods)}
    if (sets := root / "docs" / "datasets" / "README.md").exists():
        blocks[sets] = {"datasets": dataset_table(root, "")}
    blocks[root / "docs" / "methods" / "README.md"] = {"methods": index_tables(methods)}
    stale = []
    for page, parts in blocks.items():
        old = new = page.read_text(encoding="utf-8")
        for name, text in parts.items():
            old_block = _block(new, name, page)
            new = new.replace(f"<!-- {name} -->{old_block}", f"<!-- {name} -->\n{text}\n")
        if new != old:
            stale.append(page)
            if not check:
                page.write_text(new, encoding="utf-8")
    return stale


def _block(text: str, name: str, page: Path) -> str:
    """Return what is between the two marks of a block, with its line breaks."""
    found = re.findall(rf"^<!-- {name} -->$(.*?)^<!-- end of {name} -->$", text, flags=re.MULTILINE | re.DOTALL)
    if len(found) != 1:
        raise TableError(f"{page}: it must have the lines `<!-- {name} -->` and `<!-- end of {name} -->` once.")
    return str(found[0])


def _load(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(re.sub(r"  +", " ", f"| {' | '.join(line)} |") for line in lines)


def main(args: Sequence[str] | None = None) -> int:
    """Write or check the tables; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a page is out of date")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the repository")
    options = parser.parse_args(args)
    try:
        stale = write_tables(options.root, check=options.check)
    except TableError as error:
        parser.error(str(error))
    for page in stale:
        print(f"{page} {'is out of date; run `make tables`' if options.check else 'is written'}.")
    return int(bool(stale) and options.check)


if __name__ == "__main__":
    sys.exit(main())
