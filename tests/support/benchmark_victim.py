"""Methods that end badly, for the tests of the benchmark."""

import os
import signal
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from numclip_lightning.methods.numclip import NumCLIP


class Victim(NumCLIP):
    """NumCLIP on the small CLIP of the package."""

    backbone = "mini"
    pretrained = "auto"


class Killed(Victim):
    """Is killed while it is built, as by the system when the memory is full."""

    def build(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Broken(Victim):
    """Fails at the start of a fit, with a long message."""

    def on_fit_start(self) -> None:
        raise KeyError("weights " * 200)


class Stuck(Victim):
    """Writes its process and its loading processes to `file`, and never ends."""

    file: str

    def on_train_batch_end(self, *_: Any) -> None:
        new = Path(self.file).with_suffix(".new")
        new.write_text(f"{os.getpid()} {' '.join(str(child.pid) for child in active_children())}", encoding="utf-8")
        new.replace(self.file)
        time.sleep(600)


class Slow(Victim):
    """Writes its process to `<wait_for>.started`, and waits until the file `wait_for` is there."""

    wait_for: str

    def check(self) -> None:
        Path(f"{self.wait_for}.started").write_text(str(os.getpid()), encoding="utf-8")
        while not Path(self.wait_for).exists():
            time.sleep(0.05)
        super().check()
