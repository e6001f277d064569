"""Puts configs/ into the wheel, as numclip_lightning/configs; all else that builds the package is in pyproject.toml.

`numclip fit --config configs/methods/coop.yaml` then finds them from any folder (runs/shipped.py).
setuptools has no table for a folder outside of a package that goes into one.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """The build of the package's files, and of the configurations."""

    def run(self) -> None:
        """Copy the files; an editable installation reads those of the clone."""
        super().run()
        if not self.editable_mode:
            for file in sorted(Path("configs").rglob("*.yaml")):
                place = Path(self.build_lib, "numclip_lightning", file)
                self.mkpath(str(place.parent))
                self.copy_file(str(file), str(place))


setup(cmdclass={"build_py": BuildWithConfigs})
