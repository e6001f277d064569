"""Feature distribution smoothing against a slow loop, and its limit cases."""

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses.rarity import smoothing_kernel
from numclip_lightning.models.feature_smoothing import FeatureSmoothing


def samples(seed: int, ranks: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rank = torch.tensor([0, 0, 0, 1, 1, 3, 3, 3, 3, 5])
    features = torch.randn(10, 3, generator=generator) * (1 + rank[:, None]) + 100 * rank[:, None]
    return features.float(), rank


def test_statistics_and_calibration_follow_a_slow_loop() -> None:
    kernel = smoothing_kernel(6, 5, 2.0)
    fds = FeatureSmoothing(kernel, 3, momentum=0.9)
    mean: dict[int, torch.Tensor] = {}
    variance: dict[int, torch.Tensor] = {}
    for epoch in range(3):
        features, rank = samples(epoch)
        for part in (slice(0, 4), slice(4, 10)):
            fds.collect(features[part], rank[part])
        fds.update()
        for r in set(rank.tolist()):
            own = features[rank == r].double()
            m, v = own.mean(0), own.var(0) if len(own) > 1 else torch.zeros(3).double()
            mean[r] = m if r not in mean else 0.9 * mean[r] + 0.1 * m
            variance[r] = v if r not in variance else 0.9 * variance[r] + 0.1 * v
    features, rank = samples(9)
    found = fds(features, rank)
    for b, r in enumerate(rank.tolist()):
        weights = {j: kernel[r, j].item() for j in mean}
        total = sum(weights.values())
        m = torch.stack([w * mean[j] for j, w in weights.items()]).sum(0) / total
        v = torch.stack([w * variance[j] for j, w in weights.items()]).sum(0) / total
        if r == 5:
            expected = features[b].double()  # one image, no variance
        else:
            ratio = (v / variance[r]).clamp(0.1, 10)
            expected = ratio.sqrt() * (features[b].double() - mean[r]) + m
        torch.testing.assert_close(found[b].double(), expected, rtol=2e-4, atol=2e-2)


def test_first_epoch_and_unseen_ranks_stay_as_they_are() -> None:
    fds = FeatureSmoothing(smoothing_kernel(6, 5, 2.0), 3)
    features, rank = samples(0)
    assert torch.equal(fds(features, rank), features)
    fds.collect(features, rank)
    assert torch.equal(fds(features, rank), features), "what an epoch collects serves the next one"
    fds.update()
    assert torch.equal(fds(features, torch.full((10,), 2)), features)
    assert not torch.equal(fds(features, rank), features)


def test_a_kernel_of_one_rank_changes_nothing() -> None:
    fds = FeatureSmoothing(smoothing_kernel(6, 1, 2.0), 3)
    features, rank = samples(0)
    fds.collect(features, rank)
    fds.update()
    torch.testing.assert_close(fds(features, rank), features)


def test_processes_add_up() -> None:
    whole, half = (FeatureSmoothing(smoothing_kernel(6, 5, 2.0), 3) for _ in range(2))
    features, rank = samples(0)
    whole.collect(features, rank)
    whole.update()
    half.collect(features, rank)
    half.update(lambda own: own * 2)  # two processes with the same images
    torch.testing.assert_close(half.mean, whole.mean)


def test_tokens_are_refused() -> None:
    fds = FeatureSmoothing(smoothing_kernel(6, 5, 2.0), 3)
    with pytest.raises(ConfigError, match=r"features have shape \(2, 4, 3\)"):
        fds(torch.zeros(2, 4, 3), torch.zeros(2, dtype=torch.int64))


def test_what_an_epoch_collects_is_no_buffer() -> None:
    # DistributedDataParallel replaces the buffers of every process by those of the first before each step.
    buffers = dict(FeatureSmoothing(smoothing_kernel(6, 5, 2.0), 3).named_buffers())
    assert set(buffers) == {"kernel", "seen", "mean", "variance", "smooth_mean", "smooth_variance"}
