"""Parity with the original on recorded values, where these are at hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoint.parity import (
    CASES,
    Differences,
    Recorded,
    compare_demo,
    compare_half,
    compare_texts,
    compare_training,
)

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "mgie"

pytestmark = pytest.mark.skipif(
    not FIXTURES.is_dir(), reason=f"the original's recorded values are not in {FIXTURES}"
)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded(FIXTURES)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("parity")


@pytest.fixture(scope="module")
def pipeline(recorded: Recorded, work: Path):
    return recorded.converted(work / "released")


def check(found: Differences, **tolerances: float) -> None:
    """Fails with every quantity that differs by more than its tolerance, by default 2e-5."""
    limits = {name: tolerances.get(name.partition(",")[0].replace(" ", "_"), 2e-5) for name in found}
    wrong = {name: value for name, value in found.items() if not value <= limits[name]}
    assert not wrong


def test_texts(recorded: Recorded, pipeline):
    check(compare_texts(recorded, pipeline))


@pytest.mark.parametrize("case", CASES)
def test_an_edit(recorded: Recorded, pipeline, case: int):
    check(compare_demo(recorded, pipeline, case), picture=1)


def test_the_half_precision_files(recorded: Recorded, work: Path):
    """Weights of half precision are exact in fp32, so the tolerance is the same."""
    check(compare_half(recorded, recorded.converted(work / "half", "mgie_7b_half")))


def test_a_training_step(recorded: Recorded, work: Path):
    module = recorded.trainable(work / "snapshot")
    for run in ("natural", "forced_prob"):
        check(compare_training(recorded, module, run))
