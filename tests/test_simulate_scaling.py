"""The arithmetic of docs/scaling.md: operations as others count them, and a fleet whose end can be told by hand."""

import sys

import pytest

from support.places import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts"))

from simulate_scaling import CONFIGS, TOWERS, TRAINING_IMAGES, Card, Fleet, datasets, simulate


@pytest.mark.parametrize(("name", "multiplications"), [("ViT-B-16", 17.56e9), ("ViT-B-32", 4.41e9)])
def test_operations_are_those_of_torchvision(name: str, multiplications: float) -> None:
    # Its `_ops` of vit_b_16 and vit_b_32, which count a multiplication with its addition once.
    assert TOWERS[name].operations / 2 == pytest.approx(multiplications, rel=0.01)


def test_a_fleet_without_losses_ends_when_arithmetic_says() -> None:
    fleet = Fleet(gpus=4, images=1_000, shard=100, start=5, spread=0, failures=0)
    for queue in (True, False):
        # Ten shards for four cards: two of them have three.
        found = simulate(fleet, 10, queue=queue)
        assert found.hours * 3600 == pytest.approx(5 + 3 * 10)
        assert found.gpu_hours * 3600 == pytest.approx(4 * 5 + 10 * 10)
        assert found.failed == 0


def test_slow_cards_and_failures_cost_less_where_shards_are_handed_out() -> None:
    fleet = Fleet(gpus=16, images=10**6, shard=1_000, spread=0.2, failures=500)
    even, queued = (simulate(fleet, 100, queue=queue, seed=1) for queue in (False, True))
    ideal = 10**6 / 100 / 16 / 3600
    assert ideal < queued.hours < even.hours
    assert queued.failed > 0


def test_every_named_set_has_a_configuration_and_a_row() -> None:
    card = Card(peak=312e12, used=0.3, used_training=0.3, price=4, cores=12, decode=0.003)
    rows = list(datasets(card, TOWERS["ViT-B-16"]))[2:]
    assert [row.split("|")[1].strip() for row in rows] == list(TRAINING_IMAGES)
    assert all((CONFIGS / f"{name}.yaml").is_file() for name in TRAINING_IMAGES)
    # A machine that decodes slowly is the limit, whatever the card.
    assert Card(1e20, 1, 1, 4, cores=2, decode=0.01).forward(TOWERS["ViT-B-32"]) == pytest.approx(200)
