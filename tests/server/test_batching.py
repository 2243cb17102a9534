from concurrent.futures import wait

import numpy as np
import pytest

from mgie.errors import ConfigError
from mgie.sampling import Sampling
from mgie.server.batching import BatchWorker, EditTask, QueueFullError, ServerClosedError
from mgie.server.files import FileStore
from mgie.server.limits import Limits
from mgie.server.metrics import Metrics
from tests.conftest import picture

ONE_STEP = Sampling(num_inference_steps=1, guidance_scale=4.0, image_guidance_scale=1.5)


def task(seed=0, **changes):
    values = {"image": picture(), "instruction": "make it red", "seeds": [seed], "sampling": ONE_STEP}
    return EditTask(**values | changes)


@pytest.fixture
def working(model):
    """Gives a function that starts a worker on the toy model."""
    workers = []

    def start(**limits):
        workers.append(BatchWorker(model, Limits(**limits), Metrics()))
        workers[-1].start()
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def occupied(worker, gate):
    """Returns the future of an edit that the worker is held at."""
    (future,) = worker.submit([task()])
    assert gate.entered.wait(30)
    return future


def test_edits_that_wait_are_painted_together_and_are_what_they_are_alone(working, gate):
    worker = working(max_batch=4)
    first = occupied(worker, gate)
    tasks = [
        task(1),
        task(2, instruction="turn the picture blue, please", image=picture(64, 40)),
        task(3, expressive_instruction="All is red."),
        task(4, strength=0.0),
        task(5),
    ]
    futures = worker.submit(tasks)
    gate.open.set()
    assert len(wait([first, *futures], 60).done) == 6
    assert gate.rows == [1, 4, 1]
    for each, future in zip(tasks, futures, strict=True):
        (alone,) = worker.submit([each])
        together, single = (done.result(60) for done in (future, alone))
        assert together.expressive_instruction == single.expressive_instruction
        levels = [np.asarray(result.images[0]).astype(int) for result in (together, single)]
        assert abs(levels[0] - levels[1]).max() <= 1
    assert futures[3].result().images[0].tobytes() == picture().tobytes()


def test_other_settings_wait_for_the_next_batch_and_many_seeds_are_split(working, gate):
    worker = working(max_batch=3)
    first = occupied(worker, gate)
    other = Sampling(num_inference_steps=2, guidance_scale=4.0, image_guidance_scale=1.5)
    futures = worker.submit(
        [task(1), task(2, sampling=other), task(3), task(seeds=range(4)), task(4, sampling=other)]
    )
    gate.open.set()
    assert len(wait([first, *futures], 60).done) == 6
    assert gate.rows == [1, 2, 2, 3, 1]
    assert len(futures[3].result().images) == 4


def test_a_bad_edit_does_not_take_its_companions_with_it(working, gate):
    worker = working()
    occupied(worker, gate)
    good, bad, own = worker.submit([task(1), task(2, instruction="[IMG0]"), task(3)])
    gate.open.set()
    with pytest.raises(ConfigError, match="IMG0"):
        bad.result(60)
    assert good.result(60).images and own.result(60).images


def test_cancelled_edits_leave_the_queue_and_stop_the_painting(working, gate):
    worker = working()
    many = Sampling(num_inference_steps=50, guidance_scale=4.0, image_guidance_scale=1.5)
    (running,) = worker.submit([task(sampling=many)])
    assert gate.entered.wait(30)
    waiting = worker.submit([task(1, sampling=many), task(2)])
    assert running.cancel() and waiting[0].cancel()
    gate.open.set()
    assert waiting[1].result(60).images
    assert gate.steps == 2  # one of what ran, one of what was left


def test_a_full_queue_takes_all_or_nothing(working, gate):
    worker = working(max_queue=3)
    occupied(worker, gate)
    kept = worker.submit([task(1), task(2)])
    with pytest.raises(QueueFullError, match="2 photos wait"):
        worker.submit([task(3), task(4)])
    kept[0].cancel()
    kept += worker.submit([task(3), task(4)])  # the cancelled one made room
    gate.open.set()
    assert all(future.result(60) for future in kept[1:])


def test_the_queue_is_full_of_pixels_too(working, gate):
    worker = working(max_pixels=48 * 40)
    occupied(worker, gate)
    worker.submit([task(i) for i in range(8)])
    with pytest.raises(QueueFullError):
        worker.submit([task()])
    gate.open.set()


def test_closing_ends_what_waits_and_what_runs(working, gate):
    worker = working()
    (running,) = worker.submit([task(sampling=Sampling(**vars(ONE_STEP) | {"num_inference_steps": 50}))])
    assert gate.entered.wait(30)
    (waiting,) = worker.submit([task()])
    with worker._changed:
        worker._closed = True
    gate.open.set()
    worker.close()
    assert not worker.is_alive
    for future in (running, waiting):
        with pytest.raises(ServerClosedError):
            future.result(0)
    with pytest.raises(ServerClosedError):
        worker.submit([task()])
    assert gate.steps == 1


def test_files_are_kept_for_a_while_few_and_small():
    now = [0.0]
    store = FileStore(seconds=10, max_files=2, max_bytes=100, clock=lambda: now[0])
    first = store.add(b"1", "png")
    now[0] = 5
    second = store.add(b"2", "png")
    assert (store.get(first), store.get(second)) == (b"1", b"2")
    now[0] = 10
    assert (store.get(first), store.get(second)) == (None, b"2")
    third, fourth = store.add(b"3", "webp"), store.add(b"4", "png")
    assert (store.get(second), store.get(third), store.get(fourth)) == (None, b"3", b"4")
    large = store.add(b"x" * 200, "png")
    assert (store.get(fourth), store.get(large)) == (None, b"x" * 200)
