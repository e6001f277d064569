"""Places that must say the same: versions, dependencies of pip and conda, containers, continuous integration."""

import datetime
import re
import shlex
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import matrix
import numclip_lightning
from numclip_lightning.cli import VERBS
from support.places import REPOSITORY

VERSION = numclip_lightning.__version__
# Where conda-forge has another name.
CONDA = {"torch": "pytorch", "open_clip_torch": "open-clip-torch", "opencv-python-headless": "py-opencv"}
# What `jsonargparse[signatures]` brings; conda has no extras.
SIGNATURES = {"docstring_parser", "typeshed_client"}
CONTAINERS = ("Dockerfile", "Dockerfile.cuda")


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(text("pyproject.toml"))["project"]
    return found


def recipe() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text("conda/recipe.yaml"))
    return found


def requirements() -> dict[str, Requirement]:
    return {found.name: found for found in map(Requirement, project()["dependencies"])}


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text(f".github/workflows/{name}.yml"))["jobs"]
    return found


class TestVersion:
    def test_the_newest_release_of_the_changelog_is_this_version(self) -> None:
        headings = re.findall(r"^## (.+)$", text("CHANGELOG.md"), flags=re.MULTILINE)
        assert headings[0] == "Unreleased"
        version, day = re.fullmatch(r"(\S+) \((\S+)\)", headings[1]).groups()  # type: ignore[union-attr]
        assert version == VERSION
        assert yaml.safe_load(text("CITATION.cff"))["date-released"] == datetime.date.fromisoformat(day)

    def test_the_citation_and_the_recipe_of_conda_have_it(self) -> None:
        assert yaml.safe_load(text("CITATION.cff"))["version"] == VERSION
        assert recipe()["context"]["version"] == VERSION

    def test_it_is_written_down_nowhere_else_in_the_package(self) -> None:
        assert "version" in project()["dynamic"]
        files = (REPOSITORY / "src").rglob("*.py")
        assert [file.name for file in files if f'"{VERSION}"' in file.read_text(encoding="utf-8")] == ["__init__.py"]


class TestConda:
    def test_it_needs_what_pip_needs_in_the_same_versions(self) -> None:
        lines = [line for line in recipe()["requirements"]["run"] if not line.startswith("python ")]
        found = {name: SpecifierSet(versions) for name, _, versions in (line.partition(" ") for line in lines)}
        wanted = {CONDA.get(name, name): needed.specifier for name, needed in requirements().items()}
        assert {name: versions for name, versions in found.items() if name not in SIGNATURES} == wanted
        assert set(found) >= SIGNATURES

    def test_it_has_the_program_and_the_oldest_python(self) -> None:
        (program,) = recipe()["build"]["python"]["entry_points"]
        assert dict([program.split(" = ")]) == project()["scripts"]
        assert project()["requires-python"] == f">={recipe()['context']['python_min']}"


class TestExtras:
    @pytest.mark.parametrize("name", sorted({verb.extra for verb in VERBS.values()} - {""}))
    def test_those_that_verbs_name_exist(self, name: str) -> None:
        assert name in project()["optional-dependencies"]

    def test_every_dependency_has_a_lower_bound(self) -> None:
        lines = [*project()["dependencies"], *chain.from_iterable(project()["optional-dependencies"].values())]
        needed = [found for line in lines if (found := Requirement(line)).name != "numclip-lightning"]
        unbound = [found.name for found in needed if not any(part.operator == ">=" for part in found.specifier)]
        # Stubs follow the package that they describe.
        assert unbound == ["types-PyYAML"]


class TestContainers:
    @pytest.mark.parametrize("name", CONTAINERS)
    def test_they_have_a_torch_that_we_support(self, name: str) -> None:
        pins = dict(re.findall(r"^ARG (TORCH|TORCHVISION)=(\S+)$", text(name), flags=re.MULTILINE))
        assert pins["TORCH"] in requirements()["torch"].specifier
        assert pins["TORCHVISION"] in requirements()["torchvision"].specifier

    @pytest.mark.parametrize("name", CONTAINERS)
    def test_they_install_extras_that_exist_and_do_not_run_as_root(self, name: str) -> None:
        (extras,) = re.findall(r"pip install '\.\[(.+)\]'", text(name))
        assert set(extras.split(",")) <= set(project()["optional-dependencies"])
        last = text(name).rpartition("\nFROM ")[2]
        assert re.search(r"^USER [1-9]\d*$", last, flags=re.MULTILINE)

    def test_that_of_gpus_has_what_its_verbs_need(self) -> None:
        (extras,) = re.findall(r"pip install '\.\[(.+)\]'", text("Dockerfile.cuda"))
        # `benchmark` brings `report`.
        needed = {verb.extra for verb in VERBS.values()} - {"", "report"} | {"serve", "onnx", "lists", "heic"}
        assert set(extras.split(",")) >= needed

    def test_what_they_copy_is_not_ignored(self) -> None:
        kept = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
        for name in CONTAINERS:
            copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text(name), flags=re.MULTILINE)
            found = {word for line in copied for word in shlex.split(line)}
            assert {"pyproject.toml", "setup.py", "src", "configs"} <= found <= kept


@pytest.mark.slow
def test_a_row_of_the_matrix_whose_tests_can_not_run_has_failed() -> None:
    assert matrix._test(Path(sys.executable), ["--no-such-flag"]).startswith("failed with code 4: ")


class TestHostedCI:
    def test_each_push_runs_what_ours_runs(self) -> None:
        assert workflow("ci")["test"]["steps"][-1] == {"run": "bash .ci/run"}

    def test_each_night_tries_every_row_of_the_matrix(self) -> None:
        versions = workflow("nightly")["versions"]
        assert versions["strategy"]["matrix"]["row"] == [row.name for row in matrix.rows()]
        pythons = {
            step["with"]["python-version"] for step in versions["steps"] if "setup-python" in step.get("uses", "")
        }
        assert pythons == {row.python for row in matrix.rows()}

    def test_the_pythons_are_those_of_the_classifiers(self) -> None:
        lowest, *highest = matrix.rows()
        assert lowest.versions == "lowest"
        assert f">={lowest.python}" == project()["requires-python"]
        claimed = {line.rpartition(" ")[2] for line in project()["classifiers"] if re.search(r":: 3\.\d+$", line)}
        assert claimed <= {row.python for row in highest}


def test_the_page_on_installing_explains_every_extra() -> None:
    rows = re.findall(r"^\| (`.+?) \|", text("docs/howto/install.md"), flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(project()["optional-dependencies"])
