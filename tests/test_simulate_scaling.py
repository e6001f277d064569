"""The arithmetic of docs/scaling.md: operations as others count them, and a fleet whose end can be told by hand."""

import sys

import pytest

from support.places import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts"))

from simulate_scaling import CONFIGS, TOWERS, TRAINING_IMAGES, Card, Fleet, datasets, simulate

B16 = TOWERS["ViT-B-16"]


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


def test_every_published_set_has_a_row_and_the_page_has_them_all() -> None:
    rows = list(datasets(Card(peak=312e12, used=0.35, used_training=0.25, price=4.1, cores=12, decode=0.003), B16))[2:]
    assert [row.split("|")[1].strip() for row in rows] == list(TRAINING_IMAGES)
    page = (REPOSITORY / "docs" / "scaling.md").read_text(encoding="utf-8").splitlines()
    assert [row for row in rows if row not in page] == []
    # Those with the backbone of the papers; the sets of one of them are those of other rows.
    published = {file.stem for file in CONFIGS.glob("*.yaml") if "backbone: ViT-B-16" in file.read_text("utf-8")}
    assert published - {"facebenchmark"} == set(TRAINING_IMAGES)


def test_a_recipe_costs_what_arithmetic_says() -> None:
    row = next(row for row in datasets(Card(1e14, 0.5, 0.5, 3600.0, 8, 1e-9), B16) if row.startswith("| adience |"))
    # 100 epochs of 12,500 / 32 steps and a tenth of validation images; 8 prompts of 16 tokens in a text tower of
    # width 512 and 12 layers; a backward pass is two forward ones.
    image, token = 35.126e9, 2 * 12 * 12 * 512**2
    step = 3 * (32 * image + 8 * 16 * token) / 0.5e14
    hours = 100 * (12_500 / 32 * step + 1_250 * image / 0.5e14) / 3600
    assert float(row.split("|")[5]) == pytest.approx(hours, abs=0.05)
    assert float(row.split("|")[6]) == pytest.approx(hours * 3600, rel=1e-3)


def test_a_machine_that_decodes_slowly_is_the_limit_whatever_the_card() -> None:
    assert Card(1e20, 1, 1, 4, cores=2, decode=0.01).forward(TOWERS["ViT-B-32"]) == pytest.approx(200)
