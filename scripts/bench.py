"""Measure what this program costs beside the image tower: `python scripts/bench.py step --device cpu`.

Every figure is a ratio of two things that are run in turn in one process, so that a busy or slow machine changes both.
The median of the pairs is printed, with the quartiles. `make bench` runs all parts and writes docs/performance.md.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
import bench_parts

PARTS = {
    "start": bench_parts.start,
    "step": bench_parts.step,
    "evaluation": bench_parts.evaluation,
    "losses": bench_parts.losses,
    "input": bench_parts.images,
    "lists": bench_parts.lists,
    "kernels": bench_parts.kernels,
}


def machine(device: torch.device) -> str:
    """Describe the machine in a line."""
    card = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    threads = torch.get_num_threads()
    return (
        f"{platform.machine()}, {platform.processor() or 'processor unknown'}, {threads} threads{card}; Python "
        f"{platform.python_version()}, torch {torch.__version__}"
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
    return f"{middle:.2f} ({low:.2f} to {high:.2f}) | {seconds[0] * 1e3:.1f} / {seconds[1] * 1e3:.1f} ms"


def main() -> None:
    """Measure the parts that are asked for, and print or write tables."""
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
    lines = [f"Measured on {machine(device)}; {args.pairs} pairs, {args.backbone}, batch {args.batch}.", ""]
    for name in args.parts or PARTS:
        lines += [f"### {name}", "", "| what | ratio: median (quartiles) | times |", "| --- | --- | --- |"]
        for what, found in PARTS[name](run):
            print(f"{name}: {what}: {found}", flush=True)
            lines.append(f"| {what} | {found if ' | ' in found else found + ' | '} |")
        lines.append("")
    if args.write:
        head, mark, _ = args.write.read_text(encoding="utf-8").partition("<!-- tables of `make bench` -->\n")
        args.write.write_text(head + mark + "\n" + "\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
