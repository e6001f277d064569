"""Methods that end badly, for the tests of the benchmark."""

import os
import signal
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from numclip_lightning.methods import NumCLIP
from numclip_lightning.scale import OrdinalScale


class Killed(NumCLIP):
    """Is killed while it is built, as by the system when the memory is full."""

    def __init__(self, scale: OrdinalScale, backbone: str = "mini", pretrained: str | None = "auto") -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(scale, backbone, pretrained)


class Broken(NumCLIP):
    """Has a bug, and much to say of it."""

    def __init__(self, scale: OrdinalScale, backbone: str = "mini", pretrained: str | None = "auto") -> None:
        super().__init__(scale, backbone, pretrained)

    def on_fit_start(self) -> None:
        raise KeyError("weights " * 200)


class Stuck(NumCLIP):
    """Says in a file which processes it is, with those that load its images, and never ends."""

    def __init__(self, scale: OrdinalScale, file: str, backbone: str = "mini", pretrained: str | None = "auto") -> None:
        super().__init__(scale, backbone, pretrained)
        self.file = Path(file)

    def on_train_batch_end(self, *_: Any) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(f"{os.getpid()} {' '.join(str(child.pid) for child in active_children())}", encoding="utf-8")
        new.replace(self.file)
        time.sleep(600)


class Slow(NumCLIP):
    """Says in `<wait_for>.started` which process it is, and waits until the file is there."""

    def __init__(
        self, scale: OrdinalScale, wait_for: str, backbone: str = "mini", pretrained: str | None = "auto"
    ) -> None:
        Path(f"{wait_for}.started").write_text(str(os.getpid()), encoding="utf-8")
        while not Path(wait_for).exists():
            time.sleep(0.05)
        super().__init__(scale, backbone, pretrained)
