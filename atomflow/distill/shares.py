"""A training shared by several processes of one machine: each takes its part of every batch, and slopes are averaged.

Two processes of one thread each pass over a set in a little more than half the time of one (docs/distill.md), which
two threads of one process do not: most of a pass is many small operations. All hold the same weights, for each makes
the same step from the same averaged slopes. The first keeps what mace-torch keeps: log, checkpoints, model; its helpers
keep nothing and end with it.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch.distributed import FileStore, ProcessGroupGloo

from atomflow.distill.signals import end_with_reader

HELPER = "--helper="
#: the slowest processes may be so far apart: in setting up, in the first compilation
_PATIENCE = timedelta(minutes=30)


class SharedBatches:
    """What one of ``parts`` processes sees of a pass: its part of every batch, in an order that all of them agree on.

    Args:
        loader: mace-torch's, over the whole set with whole batches.
        part: which of the ``parts``, from 0.
        order: seed of the order of this pass.
    """

    def __init__(self, loader: Any, part: int, parts: int, order: int) -> None:
        self.loader, self.part, self.parts, self.order = loader, part, parts, order
        self.sizes = [int(graph.num_nodes) for graph in loader.dataset]

    def __len__(self) -> int:
        return len(self.sizes) // int(self.loader.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(len(self.sizes), generator=torch.Generator().manual_seed(self.order)).tolist()
        for start in range(0, len(self) * self.loader.batch_size, self.loader.batch_size):
            batch = order[start : start + self.loader.batch_size]
            mine = even_parts([self.sizes[graph] for graph in batch], self.parts)[self.part]
            yield self.loader.collate_fn([self.loader.dataset[batch[graph]] for graph in mine])


def even_parts(sizes: Sequence[int], parts: int) -> list[list[int]]:
    """Indices of ``sizes`` in ``parts`` groups, none empty, of sums as even as the largest-first rule makes them."""
    groups: list[list[int]] = [[] for _ in range(parts)]
    sums = [0] * parts
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        lightest = min(range(parts), key=lambda group: (sums[group], len(groups[group])))
        groups[lightest].append(index)
        sums[lightest] += sizes[index]
    return groups


def average_slopes(parameters: Sequence[torch.nn.Parameter], group: ProcessGroupGloo) -> None:
    """The gradients of all processes, averaged, in the place of this one's."""
    slopes = [parameter.grad for parameter in parameters if parameter.grad is not None]
    row = torch.cat([slope.flatten() for slope in slopes]).cpu()  # where gloo adds, also for slopes of a GPU
    group.allreduce([row]).wait()  # type: ignore[attr-defined]
    row /= group.size()
    for slope, mean in zip(slopes, row.split([slope.numel() for slope in slopes]), strict=True):
        slope.copy_(mean.view_as(slope))


@contextmanager
def helpers(options: Sequence[str], processes: int) -> Iterator[ProcessGroupGloo]:
    """Inside, ``processes - 1`` further processes of this training run, in a group with this one; they end with it."""
    with tempfile.TemporaryDirectory(prefix="atomflow-training-") as scratch:
        started = []
        try:
            for part in range(1, processes):
                place = Path(scratch) / str(part)
                command = [sys.executable, "-m", "atomflow.distill.quick_training", *options,
                           f"--log_dir={place}", f"--results_dir={place}", f"--model_dir={place}",
                           f"{HELPER}{part}/{processes}:{scratch}/meeting"]
                started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))
            yield join(0, processes, f"{scratch}/meeting")
        finally:
            for process in started:
                process.kill()
                process.wait()


def helper(word: str) -> ProcessGroupGloo:
    """Join the training that ``part/processes:meeting`` tells of. This process ends with the one it helps."""
    numbers, _, meeting = word.partition(":")
    part, processes = map(int, numbers.split("/"))
    end_with_reader(0)
    return join(part, processes, meeting)


def join(part: int, processes: int, meeting: str) -> ProcessGroupGloo:
    """The group of all who come to the file ``meeting``.

    It is not torch's default group: while there is one, mace-torch takes the training for one of its own kind of
    sharing, over GPUs of a cluster, and averages losses and errors among all.
    """
    return ProcessGroupGloo(FileStore(meeting, processes), part, processes, _PATIENCE)


def install(group: ProcessGroupGloo) -> None:
    """From now on mace_run_train of this process takes its part of every batch and steps along averaged slopes."""
    from mace.cli import run_train

    training = importlib.import_module("mace.tools.train")
    one_pass, configure, choose = training.train_one_epoch, run_train.configure_model, run_train.get_optimizer
    parameters: list[torch.nn.Parameter] = []

    def train_one_epoch(*, data_loader: Any, epoch: int, **more: Any) -> None:
        one_pass(data_loader=SharedBatches(data_loader, group.rank(), group.size(), epoch), epoch=epoch, **more)

    def configure_model(*arguments: Any, **more: Any) -> Any:
        model, about = configure(*arguments, **more)
        parameters.extend(model.parameters())
        return model, about

    def get_optimizer(*arguments: Any, **more: Any) -> Any:
        optimizer = choose(*arguments, **more)
        optimizer.register_step_pre_hook(lambda *_: average_slopes(parameters, group))
        return optimizer

    setattr(training, "train_one_epoch", train_one_epoch)  # noqa: B010  (a plain assignment is no type mypy accepts)
    setattr(run_train, "configure_model", configure_model)  # noqa: B010
    setattr(run_train, "get_optimizer", get_optimizer)  # noqa: B010
    if group.rank():
        _keep_nothing(run_train)


def _keep_nothing(run_train: Any) -> None:
    """A helper writes no checkpoint, and its work is done when the passes are."""
    from mace.tools.checkpoint import CheckpointHandler

    passes = run_train.tools.train

    def train(*arguments: Any, **more: Any) -> None:
        passes(*arguments, **more)
        os._exit(0)

    setattr(CheckpointHandler, "save", lambda *_, **__: None)  # noqa: B010
    setattr(run_train.tools, "train", train)  # noqa: B010
