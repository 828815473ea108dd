"""Training of one model by several processes: each takes its share of every batch, and gradients are averaged.

Every process runs the loop of ``students.training`` with its own copy of the data and of the teacher. The first one
validates, logs and writes; the others begin at its checkpoint. A batch is the same rows as in one process. What
differs: augmentation and methods draw their random numbers in each process, BatchNorm has the statistics of a process's
share, and a method whose rows know of each other (correlations over the batch, ranks, pairs) sees that share alone.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.multiprocessing.spawn import spawn

from data import errors
from data.compute import Compute
from data.errors import ConfigError, StageError, StillhouseError
from data.factories import in_one_line
from data.workspace import Workspace
from students.team import Team
from students.training import train_student

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

#: How long the first process may take to end once another one has met a fault.
SECONDS_TO_END = 10.0

#: How long a process waits for the others, which may be validating, before it gives up.
PATIENCE = timedelta(hours=2)


def train_in_processes(
    processes: int, *arguments: Any, compute: Compute, workspace: Workspace, **options: Any
) -> dict[str, float]:
    """``train_student`` by several processes of this machine, on one GPU each or all on the CPU.

    Args:
        processes: how many; 1 trains in this process.
        arguments: of ``train_student``.
        compute: where; of CUDA devices the first ``processes`` are taken.
        workspace: the folder, checkpoints and log.
        options: of ``train_student``.

    Returns:
        What ``train_student`` returns in the first process.

    Raises:
        ConfigError: if there are too few GPUs, and whatever ``train_student`` raises.
        StageError: if a process dies.
    """
    if processes == 1:
        return train_student(*arguments, compute=compute, workspace=workspace, **options)
    if compute.device.type == "cuda" and torch.cuda.device_count() < processes:
        raise ConfigError(f"compute.processes must be at most {torch.cuda.device_count()} GPUs, got {processes}.")
    if options.get("teacher") is not None:
        # Through the memory of the host: memory of a GPU would have to stay until every process has let go of it.
        options["teacher"] = options["teacher"].cpu()
    context = torch.multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="stillhouse-") as folder:
        place = (str(workspace.folder), workspace.checkpoint_seconds, workspace.resumed)
        # Spawned processes of torch end with their parent, also when that is killed.
        running: Any = spawn(  # type: ignore[no-untyped-call]
            _work,
            (processes, str(Path(folder, "meeting")), sender, place, compute, arguments, options),
            nprocs=processes,
            join=False,
        )
        try:
            return _result(running, receiver, workspace)
        finally:
            for process in running.processes:
                process.terminate()
                process.join()


def _result(running: Any, receiver: Connection, workspace: Workspace) -> dict[str, float]:
    """Passes on what the first process tells of its progress, until it tells its result or a fault."""
    while True:
        while receiver.poll(0.1):
            kind, *told = receiver.recv()
            if kind == "progress":
                workspace.relay(*told)
            elif kind == "done":
                metrics: dict[str, float] = told[0]
                return metrics
            else:
                # The first process meets most faults of another one as well, and has something to write of it then.
                running.processes[0].join(SECONDS_TO_END)
                raise getattr(errors, kind)(told[0])
        if any(process.exitcode not in (None, 0) for process in running.processes):
            if receiver.poll(1.0):
                continue
            codes = [process.exitcode for process in running.processes]
            raise StageError(f"every training process must end with exit code 0, got {codes}; run again to go on.")


def _work(
    rank: int,
    processes: int,
    meeting: str,
    sender: Connection,
    place: tuple[str, float, bool],
    compute: Compute,
    arguments: tuple[Any, ...],
    options: Mapping[str, Any],
) -> None:
    """One of the processes."""
    folder, checkpoint_seconds, resumed = place
    try:
        team, compute = _join(rank, processes, meeting, compute)
        workspace = Workspace(
            Path(folder),
            checkpoint_seconds=checkpoint_seconds,
            progress=lambda *told: sender.send(("progress", *told)) if rank == 0 else None,
            resumed=resumed,
            follows=rank > 0,
        )
        if options.get("teacher") is not None:
            compute.place(options["teacher"])
        metrics = train_student(*arguments, compute=compute, workspace=workspace, team=team, **options)
        if rank == 0:
            sender.send(("done", metrics))
    except StillhouseError as error:
        sender.send((type(error).__name__, str(error)))
    except Exception as error:
        sender.send(("StageError", f"training process {rank} of {processes} met an unforeseen {in_one_line(error)}."))
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _join(rank: int, processes: int, meeting: str, compute: Compute) -> tuple[Team, Compute]:
    """Meets the other processes; the team, and where this process computes."""
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    on_gpu = compute.device.type == "cuda"
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    os.environ |= {key: str(value) for key, value in place.items()}
    if on_gpu:
        torch.cuda.set_device(rank)
        compute = replace(compute, device=torch.device("cuda", rank))
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    torch.distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=processes,
        timeout=PATIENCE,
    )
    # Buffers stay each process's own: a forward pass for other images would change them under the first one's graph.
    handlers = [DistributedDataParallelKwargs(broadcast_buffers=False)]
    accelerator = Accelerator(cpu=not on_gpu, mixed_precision="no", kwargs_handlers=handlers)

    def prepare(network: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            # Newer releases of torch call broadcast_buffers by another name, which older ones do not know.
            warnings.simplefilter("ignore", FutureWarning)
            prepared: nn.Module = accelerator.prepare_model(network)
        return prepared

    return Team(rank, processes, prepare), compute
