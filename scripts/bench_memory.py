"""The part of `bench.py` that measures memory: what is released, what is not kept for the backward pass."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench_parts import Row, Run

# Of Linux. What `getrusage` calls the most of a process begins with that of the process that has started it.
MEASURE = """
def _megabytes(name):
    return next(int(line.split()[1]) / 1024 for line in open('/proc/self/status') if line.startswith(name + ':'))
def held():
    return _megabytes('VmRSS')
def peak(): # since `mark`
    return _megabytes('VmHWM')
def mark():
    open('/proc/self/clear_refs', 'w').write('5')
    return held()
"""
"""Code that measures the memory of the process it is run in, in MiB."""
_SCRIPTS = str(Path(__file__).resolve().parent)
_BUILD = """
import sys, torch; sys.path.insert(0, {scripts!r})
from bench_parts import Run, method_of
run = Run(torch.device('cpu'), {batch}, '{backbone}', None)
method = method_of(run, {levels})
"""
_RELEASE = "method.eval().prototypes(); before = held(); method.release_text(); print(before, held())"
_TRAIN = """
method.train()
{option}
x = torch.randn({batch}, 3, method.clip.image_size, method.clip.image_size)
before = mark()
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
    names = {"batch": run.batch, "backbone": run.backbone, "levels": levels, "scripts": _SCRIPTS, **filled}
    whole = MEASURE + (_BUILD + code).format(**names)
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]
