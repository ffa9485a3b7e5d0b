"""A Ray cluster for one run: the one that the program has joined already, the one at $RAY_ADDRESS, or one started here.

Ray is imported on use. What it would print is kept off the terminal: tables and JSON belong to the command.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from batchscope.errors import InputError, RunError, shown
from batchscope.importing import safe_children
from batchscope.running.devices import default_workers, resolve_device
from batchscope.running.executors.base import ExecutorOptions
from batchscope.whole_number import whole_number

ADDRESS, TIMEOUT = "RAY_ADDRESS", "BATCHSCOPE_RAY_TIMEOUT"  # environment variables
DEFAULT_TIMEOUT, LONGEST_TIMEOUT = 10, 86_400  # seconds for a cluster to answer
_QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}
# Joins the cluster and leaves it. The alarm ends it also inside Ray's own code, which tries for two minutes.
_PROBE = """
import signal, sys, ray
signal.alarm(int(sys.argv[2]))
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
except Exception as error:
    cause = str(error.__cause__ or "")
    print(error, *[line for line in cause.splitlines() if "Error: " in line][-1:], sep="; ")
    sys.exit(1)
"""


def import_ray() -> Any:
    """Return the module `ray`; raise InputError that names the extra where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported
    try:
        import ray
    except ImportError as error:
        raise InputError(
            f"the executor ray needs Ray, which cannot be imported ({error}): "
            'pip install "batchscope[ray]", or choose another executor'
        ) from None
    return ray


@contextlib.contextmanager
def connected(options: ExecutorOptions) -> Iterator[None]:
    """Be connected to a cluster. One started here ends with it; one that was joined goes on without this program."""
    ray = import_ray()
    if ray.is_initialized():  # by the user's program, whose it stays
        yield
        return
    address = os.environ.get(ADDRESS, "")
    with _silence():
        if address in ("", "local"):
            _start(ray, options)
        else:
            _join(ray, address)
        try:
            yield
        finally:
            ray.shutdown()


def _start(ray: Any, options: ExecutorOptions) -> None:
    """Start a cluster of one node with room for the workers asked for."""
    device = resolve_device(options.device)
    gpus = default_workers(device) if device == "cuda" else 0
    workers = options.workers or default_workers(device)
    try:
        with _signals_kept(), safe_children():
            ray.init(address="local", num_cpus=workers, num_gpus=gpus, include_dashboard=False, **_QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(f"Ray could not be started on this machine: {error}") from error


def _join(ray: Any, address: str) -> None:
    seconds = timeout()
    if "://" in address:
        raise InputError(
            f"{ADDRESS} = {address!r}; expected HOST:PORT of a cluster that this machine is a node of, or 'auto'; from "
            "elsewhere let the cluster run the command: ray job submit --address URL -- batchscope run ..."
        )
    if address != "auto":
        _call(address, seconds)
    _probe(address, seconds)
    with _signals_kept():
        ray.init(address=address, **_QUIET)


def timeout() -> int:
    """Return the seconds a cluster is given to answer."""
    text = os.environ.get(TIMEOUT, str(DEFAULT_TIMEOUT))
    seconds = whole_number(text)
    if seconds is None or not 1 <= seconds <= LONGEST_TIMEOUT:
        raise InputError(f"{TIMEOUT} = {shown(text)}; expected a whole number of seconds, 1 to {LONGEST_TIMEOUT}")
    return seconds


def _call(address: str, seconds: int) -> None:
    """Raise InputError unless something listens at HOST:PORT."""
    host, _, digits = address.rpartition(":")
    port = whole_number(digits)
    if not host or port is None:
        raise InputError(f"{ADDRESS} = {address!r}; expected HOST:PORT, 'auto' or 'local'")
    try:
        socket.create_connection((host.strip("[]"), port), timeout=seconds).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, f"{error} (tried for up to {seconds} s)") from None


def _probe(address: str, seconds: int) -> None:
    """Let another process join the cluster first: Ray itself neither gives up in time nor can be told to."""
    words = [sys.executable, "-P", "-c", _PROBE, address, str(seconds)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if done.returncode == 0:
        return
    silent = done.returncode < 0 or not done.stdout.strip()
    raise _unreachable(address, f"no answer of a Ray cluster within {seconds} s" if silent else done.stdout.strip())


def _unreachable(address: str, reason: str) -> InputError:
    return InputError(
        f"the Ray cluster at {address} ({ADDRESS}) cannot be joined: {reason}; is it running, and this machine one of "
        f"its nodes (ray status)? {TIMEOUT} gives it more seconds; without {ADDRESS} a cluster is started here"
    )


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # not in the main thread, where Ray takes nothing either
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Ray writes of every death of a worker on standard output, whatever it was told; the executor says it itself."""
    from ray._private import worker

    before = getattr(worker, "print_to_stdstream", None)
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before
