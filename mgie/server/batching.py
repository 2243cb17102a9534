"""The thread that owns the model: edits wait in a queue, and those that can be painted together are.

Nothing here knows of HTTP. An edit that its owner cancels leaves the queue; where that is true of all edits
of a batch, the painting stops after the step that it is at.
"""

import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mgie.models.safety import SafetyChecker
from mgie.pipeline import MGIEPipeline
from mgie.sampling import Sampling
from mgie.server.limits import Limits
from mgie.server.metrics import Metrics

_WAITING_PICTURES = 8
"""The queue holds so many of the largest pictures at most: they wait decoded, in memory."""


class QueueFullError(Exception):
    """There is no room for an edit; `seconds` is an estimate of when there will be."""

    def __init__(self, waiting: int, seconds: float) -> None:
        super().__init__(f"{waiting} photos wait already")
        self.seconds = seconds


class ServerClosedError(Exception):
    """The server ends; edits that wait are not made any more."""


@dataclass(frozen=True, kw_only=True)
class EditTask:
    """Edits of one photo by one instruction, a result for each seed; all share what the model imagines."""

    image: Image.Image
    """RGB."""
    instruction: str
    seeds: Sequence[int]
    expressive_instruction: str | None = None
    mask: Image.Image | None = None
    """Mode L, of the image's size: white may change."""
    strength: float = 1.0
    sampling: Sampling


@dataclass(frozen=True, kw_only=True)
class EditResult:
    """What became of an `EditTask`."""

    images: list[Image.Image]
    """RGB, one for each seed."""
    expressive_instruction: str


@dataclass(frozen=True)
class _Job:
    task: EditTask
    future: "Future[EditResult]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    @property
    def num_pixels(self) -> int:
        return self.task.image.width * self.task.image.height


class BatchWorker:
    """Runs edits on one pipeline, those with equal settings together.

    Args:
        pipeline: the model; from `start` to `close` it is this thread's alone.
        limits: of the queue and the batches.
        metrics: where batches are counted.
        safety_checker: looks at the results.
        companion_seconds: how long the first of a batch waits for others.
    """

    def __init__(
        self,
        pipeline: MGIEPipeline,
        limits: Limits,
        metrics: Metrics,
        safety_checker: SafetyChecker | None = None,
        companion_seconds: float = 0.01,
    ) -> None:
        self.pipeline, self.limits, self.metrics = pipeline, limits, metrics
        self.safety_checker, self.companion_seconds = safety_checker, companion_seconds
        self._queue: list[_Job] = []
        self._changed = threading.Condition()
        self._closed = False
        self._batch_seconds = 1.0
        self._thread = threading.Thread(target=self._run, name="mgie-worker", daemon=True)
        metrics.watch_queue(lambda: len(self._queue))

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread: edits that wait fail, those that run stop after the step that they are at."""
        with self._changed:
            self._closed = True
            waiting, self._queue = self._queue, []
            self._changed.notify_all()
        for job in waiting:
            _fail(job, ServerClosedError("the server is shutting down"))
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether edits are being made."""
        return self._thread.is_alive()

    def check_room(self, num: int) -> None:
        """Refuses `num` more edits where the queue has no room for them.

        Raises:
            QueueFullError: that is so.
        """
        waiting = sum(not job.future.cancelled() for job in self._queue)
        if waiting + num > self.limits.max_queue:
            batches = waiting / self.limits.max_batch + 1
            raise QueueFullError(waiting, batches * self._batch_seconds)

    def submit(self, tasks: Sequence[EditTask]) -> "list[Future[EditResult]]":
        """Queues all of the tasks or none, and returns their futures; cancelling one takes its edit back.

        Raises:
            QueueFullError: there is no room for them.
            ServerClosedError: the worker has been closed.
        """
        jobs = [_Job(task) for task in tasks]
        with self._changed:
            if self._closed:
                raise ServerClosedError("the server is shutting down")
            self._queue = [job for job in self._queue if not job.future.cancelled()]
            self.check_room(len(jobs))
            pixels = sum(job.num_pixels for job in (*self._queue, *jobs))
            if self._queue and pixels > _WAITING_PICTURES * self.limits.max_pixels:
                raise QueueFullError(len(self._queue), self._batch_seconds)
            self._queue += jobs
            self._changed.notify_all()
        return [job.future for job in jobs]

    def _run(self) -> None:
        while batch := self._next_batch():
            start = time.monotonic()
            for job in batch:
                self.metrics.seconds.labels("queue").observe(start - job.since)
            self._process(batch)
            self._batch_seconds = time.monotonic() - start

    def _next_batch(self) -> list[_Job]:
        """Returns the oldest edit, and those after it that fit to it; none when the worker is closed."""
        with self._changed:
            while not self._closed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                self._changed.wait_for(
                    lambda: self._closed or len(self._queue) >= self.limits.max_batch, self.companion_seconds
                )
                if batch := self._take():
                    return batch
        return []

    def _take(self) -> list[_Job]:
        """Takes a batch from the queue, in the order of arrival; those that were cancelled go."""
        batch: list[_Job] = []
        left: list[_Job] = []
        room = self.limits.max_batch
        for job in self._queue:
            if job.future.cancelled():
                continue
            size = len(job.task.seeds)
            fits = not batch or (size <= room and job.task.sampling == batch[0].task.sampling)
            (batch if fits else left).append(job)
            room -= size if fits else 0
        self._queue = left
        return batch

    def _process(self, batch: list[_Job]) -> None:
        """Gives every edit of a batch its result or its error."""
        if self._closed:
            for job in batch:
                _fail(job, ServerClosedError("the server is shutting down"))
            return
        try:
            results = self._edit(batch)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, ServerClosedError):
                for job in batch:
                    _fail(job, error)
                return
            results = None
        if results is None:  # a bad edit must not take its companions with it
            for job in batch:
                self._process([job])
            return
        for job, result in zip(batch, results, strict=True):
            try:
                if self.safety_checker is not None and not job.future.cancelled():
                    self.safety_checker.refuse_flagged(result.images)
            except Exception as error:
                _fail(job, error)
            else:
                with contextlib.suppress(InvalidStateError):  # cancelled
                    job.future.set_result(result)

    def _edit(self, batch: list[_Job]) -> list[EditResult]:
        """Returns the results of edits with equal sampling."""
        start = time.monotonic()
        words, embeds, null = self._imagine([job.task for job in batch])
        self.metrics.time({"imagine": time.monotonic() - start})
        # Results of one photo share its latents.
        sources = [
            self.pipeline.encode_image(job.task.image) if len(job.task.seeds) > 1 else job.task.image
            for job in batch
        ]
        rows = [(i, seed) for i, job in enumerate(batch) for seed in job.task.seeds]
        images: list[list[Image.Image]] = [[] for _ in batch]
        for first in range(0, len(rows), self.limits.max_batch):
            chosen = rows[first : first + self.limits.max_batch]
            tasks = [batch[i].task for i, _ in chosen]
            output = self.pipeline(
                [sources[i] for i, _ in chosen],
                prompt_embeds=torch.stack([embeds[i] for i, _ in chosen]),
                negative_prompt_embeds=torch.stack([null[i] for i, _ in chosen]),
                generator=[torch.Generator().manual_seed(seed) for _, seed in chosen],
                mask=[task.mask for task in tasks],  # type: ignore[arg-type]  None is no mask
                strength=[task.strength for task in tasks],
                callback_on_step_end=self._interrupting(batch),
                **vars(tasks[0].sampling),
            )
            if self.pipeline.interrupt:  # nobody waits for it, and it is half painted
                raise ServerClosedError("the server is shutting down")
            for (i, _), image in zip(chosen, output.images, strict=True):
                images[i].append(image)
            self.metrics.batch_size.observe(len(chosen))
            self.metrics.time({name: output.seconds[name] for name in ("paint", "decode", "return")})
        self.metrics.images.inc(len(rows))
        return [
            EditResult(images=made, expressive_instruction=text)
            for made, text in zip(images, words, strict=True)
        ]

    def _imagine(self, tasks: list[EditTask]) -> tuple[list[str], list[Tensor], list[Tensor]]:
        """Returns expressive instructions, prompt embeds (Q, C) and null embeds (Q, C) of each task."""
        imagined: dict[int, tuple[str, Tensor, Tensor]] = {}
        for own_words in (False, True):
            rows = [
                i for i, task in enumerate(tasks) if (task.expressive_instruction is not None) == own_words
            ]
            if not rows:
                continue
            imagination = self.pipeline.encode_instruction(
                [tasks[i].image for i in rows],
                [tasks[i].instruction for i in rows],
                [tasks[i].expressive_instruction or "" for i in rows] if own_words else None,
            )
            columns = (
                imagination.expressive_instructions,
                imagination.prompt_embeds,
                imagination.negative_prompt_embeds,
            )
            imagined |= dict(zip(rows, zip(*columns, strict=True), strict=True))
        words, embeds, null = zip(*(imagined[i] for i in range(len(tasks))), strict=True)
        return list(words), list(embeds), list(null)

    def _interrupting(self, batch: list[_Job]) -> Any:
        """Returns a step callback that ends the painting when nobody waits for it any more."""

        def on_step_end(
            pipeline: MGIEPipeline, _: int, __: Any, tensors: dict[str, Tensor]
        ) -> dict[str, Tensor]:
            if self._closed or all(job.future.cancelled() for job in batch):
                pipeline._interrupt = True
            return tensors

        return on_step_end


def _fail(job: _Job, error: Exception) -> None:
    with contextlib.suppress(InvalidStateError):  # cancelled
        job.future.set_exception(error)
