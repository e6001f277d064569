"""The part of `bench.py` that measures memory: what is released, what is not kept for the backward pass."""

import subprocess
import sys
from collections.abc import Iterator

from bench_parts import Row, Run

_PEAK = "import resource; peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
_HELD = "held = lambda: int(open('/proc/self/statm').read().split()[1]) * 4096 / 2**20\n"
_BUILD = """
import sys, torch; sys.path.insert(0, 'scripts')
from bench_parts import Run, loss_of, method_of
run = Run(torch.device('cpu'), {batch}, '{backbone}', None)
method = method_of(run, {levels})
"""
_RELEASE = "method.eval().prototypes(); before = held(); method.release_text(); print(before, held())"
_TRAIN = """
method.train()
before = held()
{option}
x = torch.randn({batch}, 3, method.clip.image_size, method.clip.image_size)
torch.autograd.backward({what})
print(peak() - before)
"""


def memory(run: Run) -> Iterator[Row]:
    """Megabytes of a process, before and after, or at their most."""
    before, after = _python(run, 5, _RELEASE)
    yield "a method in memory, before and after its text tower is released", "", f"{before:.0f} and {after:.0f} MB"
    text = "method.prototypes().sum()"
    options = ("", "method.clip.text.set_checkpointing(True)")
    whole, less = (_python(run, 101, _TRAIN, option=option, what=text)[0] for option in options)
    yield (
        "101 prompts forward and backward, without and with `compute.checkpoint_text`: peak above the start",
        "",
        (f"{whole:.0f} and {less:.0f} MB"),
    )
    image = "method.clip.encode_image(x).square().mean()"
    options = ("", f"method.clip.images_at_once = {max(1, run.batch // 8)}")
    whole, less = (_python(run, 5, _TRAIN, option=option, what=image)[0] for option in options)
    yield (
        f"{run.batch} images forward and backward, whole and by `compute.images_at_once` of an eighth",
        "",
        (f"{whole:.0f} and {less:.0f} MB"),
    )


def _python(run: Run, levels: int, code: str, **filled: str) -> list[float]:
    """Run code about a method in a process of its own, and return the numbers that it prints."""
    names = {"batch": run.batch, "backbone": run.backbone, "levels": levels, **filled}
    whole = _PEAK + _HELD + (_BUILD + code).format(**names)
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]
