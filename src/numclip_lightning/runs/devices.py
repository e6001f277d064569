"""The device of a run: which GPU it gets, what it is called, how much of its memory was taken."""

import os
import resource
import sys

import torch

__all__ = ["device_name", "gpu_of", "peak_memory"]


def gpu_of(slot: int, gpus: int) -> str:
    """Return the GPU of a slot, among those that the user has made visible (`CUDA_VISIBLE_DEVICES`).

    Args:
        slot: Which of the processes at once, from 0.
        gpus: How many GPUs are visible, at least 1.

    Returns:
        Its name, in the form that `CUDA_VISIBLE_DEVICES` expects.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    return names[slot % gpus]


def peak_memory(device: torch.device) -> float:
    """Return the peak memory of this process so far, in MiB.

    Args:
        device: Where it computes. For a GPU the memory on it, else that of the process, with all libraries.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def device_name(device: torch.device) -> str:
    """Return the device and the number of threads, on which the time of a run depends."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} of {os.cpu_count()} cores)"
