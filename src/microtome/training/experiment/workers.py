"""Runs one after the other, in several processes of one thread each, or on a Ray cluster; each lies in its own folder.

A run tells its events while it goes on; what it came to is in its folder. A process that dies costs its own run and no other. A
process whose parent is gone ends at once, so that the next call does not meet it in the same folder.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from typing import Any, cast

from microtome.errors import BadOption, MissingExtra, option_hint
from microtome.training.experiment.definition import Experiment
from microtome.training.experiment.run_plan import PlannedRun
from microtome.training.experiment.single_run import complete_run, record_failure

RAY = "ray"
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class RunEvent:
    """What a run tells: begun, epoch, finished, failed or reused; `facts` are plain values such as epoch and loss."""

    kind: str
    run: str
    text: str
    facts: dict[str, Any]


RunListener = Callable[[RunEvent], None]


def check_workers(workers: object) -> int | str:
    """The number of processes, or "ray". Raises: BadOption for anything else, MissingExtra for Ray that is not installed."""
    if workers == RAY:
        _import_ray()
        return RAY
    number = int(workers) if isinstance(workers, str) and workers.isdigit() else workers
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise BadOption(f"workers is {workers!r}; give a number of processes from 1 on, or {RAY}: {option_hint('workers', 2)}.")
    return number


def work_off(experiment: Experiment, runs: Sequence[PlannedRun], workers: int | str, listener: RunListener) -> None:
    """Make these runs; what each came to is in its folder afterwards."""
    if workers == RAY:
        _work_on_ray(experiment, runs, listener)
    elif workers == 1:
        for run in runs:
            _in_this_process(experiment, run, listener)
    else:
        _work_in_processes(experiment, runs, int(workers), listener)


def _in_this_process(experiment: Experiment, run: PlannedRun, listener: RunListener) -> None:
    listener(RunEvent("begun", run.name, "begun", {}))

    def tell(facts: dict[str, Any]) -> None:
        listener(epoch_event(run.name, facts))

    result = complete_run(experiment, run, tell)
    listener(end_event(run.name, result))


def epoch_event(name: str, facts: dict[str, Any]) -> RunEvent:
    """The event of one epoch, from what the training tells of it."""
    text = f"epoch {facts.get('epoch')} of {facts.get('epochs', '?')}"
    for key, label in (("loss", "loss"), ("validation_accuracy", "validation accuracy")):
        if isinstance(facts.get(key), float):
            text += f", {label} {facts[key]:.3f}"
    return RunEvent("epoch", name, text, facts)


def end_event(name: str, result: dict[str, Any]) -> RunEvent:
    """The event of a run that is finished or failed."""
    facts = {key: result.get(key) for key in ("state", "reason", "seconds")}
    text = "finished" if result["state"] == "finished" else str(result.get("reason", ""))
    return RunEvent(str(result["state"]), name, text, facts)


def _work_in_processes(experiment: Experiment, runs: Sequence[PlannedRun], workers: int, listener: RunListener) -> None:
    """At most `workers` processes at a time, one for each run."""
    waiting, active = list(runs), dict[Any, tuple[PlannedRun, Any]]()
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                run = waiting.pop(0)
                ear, mouth = get_context("spawn").Pipe(duplex=False)
                process = get_context("spawn").Process(target=_child, args=(experiment, run, mouth), daemon=True)
                with _one_thread():
                    process.start()
                mouth.close()
                active[ear] = (run, process)
                listener(RunEvent("begun", run.name, "begun", {"process": process.pid}))
            for ear in connection.wait(list(active)):
                run, process = active[ear]
                try:
                    listener(epoch_event(run.name, cast(Any, ear).recv()))
                except EOFError:  # the process has ended
                    del active[ear]
                    process.join()
                    listener(end_event(run.name, _result_of(run, process.exitcode)))
    finally:
        for _, process in active.values():
            process.terminate()
            process.join()


@contextmanager
def _one_thread() -> Generator[None]:
    """Inside the block, processes are started with one thread for arithmetic."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _result_of(run: PlannedRun, exit_code: int | None) -> dict[str, Any]:
    """What a run left in its folder when its process ended; a failure is written there where it left nothing."""
    result = run.result()
    if exit_code == 0 and result is not None:
        return result
    reason = (
        f"its process was ended by signal {-exit_code}"
        if exit_code and exit_code < 0
        else f"its process ended with {exit_code}"
    )
    return record_failure(run, f"{reason}; where memory ran out, take fewer {option_hint('workers', 1)}")


def _child(experiment: Experiment, run: PlannedRun, mouth: Any) -> None:
    """The whole life of a process that makes one run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its processes
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)

    def tell(facts: dict[str, Any]) -> None:
        with suppress(OSError):
            mouth.send(facts)

    complete_run(experiment, run, tell)
    mouth.close()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _import_ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtra(
            f"Ray is not installed, and {option_hint('workers', RAY)} needs it; install it with: pip install 'microtome[ray]'."
        ) from error
    return ray


def _work_on_ray(experiment: Experiment, runs: Sequence[PlannedRun], listener: RunListener) -> None:
    """One Ray task of one CPU for each run; the folder of the experiment has to be one that all machines of the cluster see."""
    ray = _import_ray()
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    task = ray.remote(num_cpus=1, max_retries=0)(_ray_task)
    waiting = {task.remote(experiment, run): run for run in runs}
    for run in waiting.values():
        listener(RunEvent("begun", run.name, "handed to Ray", {}))
    for reference, run in _as_they_end(ray, waiting):
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            record_failure(run, f"its Ray task failed: {str(error).strip().splitlines()[-1][:300]}")
        result = run.result() or record_failure(
            run, "its Ray task left nothing in the folder; do all machines see that folder?"
        )
        listener(end_event(run.name, result))


def _as_they_end(ray: Any, waiting: dict[Any, PlannedRun]) -> Iterator[tuple[Any, PlannedRun]]:
    left = list(waiting)
    while left:
        ready, left = ray.wait(left, num_returns=1)
        for reference in ready:
            yield reference, waiting[reference]


def _ray_task(experiment: Experiment, run: PlannedRun) -> None:
    import torch

    torch.set_num_threads(1)
    complete_run(experiment, run, lambda facts: None)
