"""Measure what this program costs beside the image tower: `python scripts/bench.py step --device cpu`.

Every figure is a ratio of two things that are run in turn in one process, so that a busy or slow machine changes both.
The median of the pairs is printed, with the quartiles. `make bench` runs all parts and writes docs/performance.md; with
some parts and `--write`, their tables alone are replaced.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import bench_files
import bench_memory
import bench_parts

PARTS = {
    "start": bench_files.start,
    "step": bench_parts.step,
    "evaluation": bench_parts.evaluation,
    "test": bench_files.end_to_end,
    "losses": bench_parts.losses,
    "input": bench_files.images,
    "lists": bench_files.lists,
    "kernels": bench_parts.kernels,
    "memory": bench_memory.memory,
    "processes": bench_files.processes,
}
FAILED = "not measured"
MARK = "<!-- tables of `make bench` -->\n"


def machine(device: torch.device) -> str:
    """Describe the machine in a line."""
    card = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    found = (
        re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    )
    processor = found[1] if found else platform.processor() or "processor unknown"
    return (
        f"{platform.machine()}, {processor}, {os.cpu_count()} cores, {torch.get_num_threads()} threads used{card}; "
        f"Python {platform.python_version()}, torch {torch.__version__}; load {os.getloadavg()[0]:.0f}"
    )


def paired(first: Callable[[], object], second: Callable[[], object], device: torch.device, pairs: int) -> str:
    """Run two functions in turn, and return the ratio of their times: median and quartiles.

    Wall time on a GPU, after it has finished; processor time of this process otherwise, which other programs' work does
    not lengthen by waiting.
    """

    def once(function: Callable[[], object]) -> float:
        if device.type != "cuda":
            before = time.process_time()
            function()
            return time.process_time() - before
        torch.cuda.synchronize()
        before = time.perf_counter()
        function()
        torch.cuda.synchronize()
        return time.perf_counter() - before

    once(first), once(second)
    times = [(once(first), once(second)) for _ in range(pairs)]
    ratios = [one / other for one, other in times]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    seconds = statistics.median(one for one, _ in times), statistics.median(other for _, other in times)
    return f"{middle:.3g} ({low:.3g} to {high:.3g}) | {seconds[0] * 1e3:.1f} / {seconds[1] * 1e3:.1f} ms"


def replaced(page: str, tables: dict[str, str]) -> str:
    """Return a page with the tables of some parts replaced, all in the order of `PARTS`."""
    head, mark, tail = page.partition(MARK)
    known = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", tail, re.MULTILINE | re.DOTALL)) | tables
    return (
        head + (mark or MARK) + "".join(f"\n### {name}\n\n{known[name].strip()}\n" for name in PARTS if name in known)
    )


def rows_of(name: str, run: bench_parts.Run) -> Iterator[bench_parts.Row]:
    """Yield the rows of a part; if it fails, say why on standard error, with its last row as the reason.

    The other parts take half an hour, and are not lost with it.
    """
    try:
        yield from PARTS[name](run)
    except Exception as error:  # noqa: BLE001 (whatever a part raises, the others run)
        traceback.print_exc()
        if isinstance(error, subprocess.CalledProcessError):
            print(error.stderr, file=sys.stderr)
        yield f"{FAILED}: the rest of this part", "", f"{type(error).__name__}"


def main() -> int:
    """Measure the parts that are asked for, and print or write tables; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them without any")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--backbone", default="ViT-B-32", help="an open_clip name; its weights are random")
    parser.add_argument("--write", type=Path, help="a page, whose tables are replaced")
    args = parser.parse_args()
    device = torch.device(args.device)
    run = bench_parts.Run(device, args.batch, args.backbone, lambda one, other: paired(one, other, device, args.pairs))
    asked = f"--batch {args.batch} --pairs {args.pairs} --backbone {args.backbone} --device {args.device}"
    failed = False
    for name in args.parts or PARTS:
        lines = [f"`python scripts/bench.py {name} {asked}`, on {machine(device)}.", ""]
        lines += ["| what | target | ratio: median (quartiles), or figure | times |", "| --- | --- | --- | --- |"]
        for what, target, found in rows_of(name, run):
            failed |= what.startswith(FAILED)
            print(f"{name}: {what}: {found}", flush=True)
            lines.append(f"| {what} | {target} | {found if ' | ' in found else found + ' |'} |")
            if args.write:
                # At once: what is measured is not lost if a later row fails.
                page = args.write.read_text(encoding="utf-8")
                args.write.write_text(replaced(page, {name: "\n".join(lines)}), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
