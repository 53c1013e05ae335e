"""Ray as work is spread with it: a cluster of this machine that ends with the command, or one that is joined."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from harness.errors import OhdBenchError, UsageError
from harness.stopping import Stopping

EVERYWHERE = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nobody is told that Ray runs here
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # Ray prints on stdout, where the result belongs, of which worker died
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker that reserves no GPU sees those that the driver sees
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of several workers' errors the first is told, and Ray prints the rest
}
HERE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Bound to loopback. Else Ray takes 127.0.0.1 for the address that others reach this machine by, and listens on it
(``resolve_ip_for_localhost`` in ray/_private/services.py, 2.60)."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
GREETING = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"
"""Program: ask a cluster for its number, which takes it some milliseconds."""
GREETED = 60
"""Seconds for it, Ray's import on a busy machine included; what is no Ray keeps it waiting for minutes."""
UNHEARD = ("ray.exceptions.", "ConnectionError", "TimeoutError")
"""How the error of a greeting begins that was not understood."""
ASKS = "it asks for a token, which is to be in RAY_AUTH_TOKEN here (`ray get-auth-token` at its head says it)"
SILENT = (
    "what listens there does not answer as Ray does; `ray start` tells the port (not the dashboard's, nor ray://'s)"
)
STORE = 100 * 2**20
"""Bytes of shared memory: what travels on one machine is paths and answers."""


@dataclass(frozen=True)
class Cluster:
    """What work can be spread over: ``own`` is one that this command started; ``began`` when (``time.monotonic``)."""

    own: bool
    machines: int
    gpus: int
    began: float

    def shared_out(self, workers: int | None, device: str) -> tuple[int, float]:
        """How many workers there are to be, and the share of a GPU that each has (0: each has a CPU).

        So many as are asked for, or one for each GPU, or where there is none one for each machine.
        """
        gpus = self.gpus if device in ("auto", "cuda") else 0
        number = workers or gpus or self.machines
        return number, 1 / -(-number // gpus) if gpus else 0


def require() -> None:
    """UsageError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--workers and --ray need Ray: pip install 'ohd-bench[ray]'; --shard needs nothing")


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """While this is open a signal waits, and is raised right after: Ray swallows what a handler raises within it."""
    stopping = Stopping()
    try:
        with stopping:
            yield
    finally:
        if stopping.asked:
            signal.raise_signal(stopping.asked)


@contextlib.contextmanager
def opened(workers: int, address: str = "") -> Iterator[Cluster]:
    """The cluster at this address (``auto``: what is noted of this machine); with none, one here for so many workers.

    One that was started here listens on loopback alone, and nothing of it is left after, whatever ends this process.
    UsageError where there is no cluster to join; OhdBenchError where it is lost.
    """
    require()
    began = time.monotonic()
    os.environ.update({name: value for name, value in EVERYWHERE.items() if name not in os.environ})
    there = _noted() if address == "auto" else address
    if not address or _host(there) in LOOPBACK:  # before Ray is imported, which reads it then
        os.environ.update(HERE)
    if address and not _begun():
        _knock(address, there)
    import ray

    if _begun():
        yield _seen(False, began)
        return
    with contextlib.ExitStack() as left:
        folder = Path(left.enter_context(_folder()))
        left.callback(_leave)  # also of what has begun where its start is broken off
        try:
            with unbroken(), _in(folder):
                if address:
                    _join(address, there)
                else:
                    _start(workers, folder)
                seen = _seen(not address, began)
            yield seen
        except ray.exceptions.RayError as error:
            told = str(error).strip().splitlines()[0]
            raise OhdBenchError(f"the Ray cluster was lost ({told}); the same command goes on") from error


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _begun() -> bool:
    """Whether who called us has a Ray already."""
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def _knock(address: str, there: str) -> None:
    """Looks who is there before Ray is imported, which settles then whether it gives a token; UsageError for nobody."""
    try:
        if not there:
            raise ValueError("`ray start` has noted none on this machine; give HOST:PORT or set RAY_ADDRESS")
        # Ray would go on trying for minutes, and still has a cluster of yesterday written down as this machine's.
        socket.create_connection((_host(there), int(there.rpartition(":")[2])), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_cluster(address, error) from error
    told = _greeted(address, there)
    if "token" in told.lower():  # it lets nobody in who comes as we do now
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # ray.init itself gives one to no cluster but its own (2.60)
        told = _greeted(address, there)
        if "token" in told.lower():
            raise _no_cluster(address, ASKS)
    # Ray's own error, and not that a private name of it has gone: then ray.init is left to find out who is there.
    if told.strip().rpartition("\n")[2].startswith(UNHEARD):
        raise _no_cluster(address, SILENT)


def _greeted(address: str, there: str) -> str:
    """What a process of its own that greets this cluster says of why it was not let in; empty where it was."""
    greeting = [sys.executable, "-c", GREETING, there]
    try:
        done = subprocess.run(greeting, capture_output=True, text=True, timeout=GREETED)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise _no_cluster(address, SILENT) from error
    return done.stderr if done.returncode else ""


def _join(address: str, there: str) -> None:
    import ray

    try:
        _init(address=there)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, why: Exception | str) -> UsageError:
    told = (str(why).strip().splitlines() or ["no word of why"])[0]
    return UsageError(f"--ray {address}: no cluster can be joined there: {told}")


def _noted() -> str:
    """Where ``RAY_ADDRESS`` or ``ray start`` says that this machine's cluster is; empty where neither says.

    Ray's own ``auto`` takes any cluster whose process it sees: also one that ends with the command that started it.
    The note lies where ``get_ray_address_file`` of ray/_common/utils.py (2.60) has it; Ray is not yet imported.
    """
    told = os.environ.get("RAY_ADDRESS", "")
    if told not in ("", "auto"):
        return told
    place = os.environ.get("RAY_TMPDIR") or (sys.platform == "linux" and os.environ.get("TMPDIR")) or "/tmp"  # noqa: S108
    note = Path(place, "ray", "ray_current_cluster")
    return note.read_text(encoding="utf-8", errors="replace").strip() if note.is_file() else ""


def _start(workers: int, folder: Path) -> None:
    from harness.compute.devices import gpus

    _init(
        address="local",  # with none given it would join the one that RAY_ADDRESS names
        num_cpus=workers,
        num_gpus=len(gpus()),
        include_dashboard=False,
        object_store_memory=STORE,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder / "s"),
        _system_config={"worker_niceness": 0},
    )
    import ray

    bound = ray.nodes()[0]["NodeManagerAddress"]
    if bound != "127.0.0.1":
        raise UsageError(f"Ray would listen on {bound}: import ohd-bench before ray, or set {'='.join(*HERE.items())}")


def _init(**how: Any) -> None:
    import ray

    with _our_sigterm():
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **how)


@contextlib.contextmanager
def _our_sigterm() -> Iterator[None]:
    """While this is open Ray sets no handler of SIGTERM; where it finds another way to, ours is back after.

    Its own ends the process amid the start, as an error of which nobody knows that it was a signal; it is set by
    ``set_sigterm_handler`` of ray/_private/utils.py (2.60).
    """
    import ray

    ours, utils = signal.getsignal(signal.SIGTERM), ray._private.utils
    theirs = getattr(utils, "set_sigterm_handler", None)
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    """In this folder while this is open.

    Workers put the folder that Ray is started from first where they look for modules: a ``tasks.py`` of the user's
    there would stand before ours.
    """
    here = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)


def _leave() -> None:
    import ray

    with unbroken():
        ray.shutdown()


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """An empty folder that nobody else may enter, for Ray's sockets: their paths have at most some hundred letters.

    Those of processes that were killed are taken away.
    """
    place = Path("/tmp" if os.name == "posix" else tempfile.gettempdir())  # noqa: S108
    for left in place.glob("ohd-ray-*-*"):
        pid = left.name.split("-")[2]
        if pid.isascii() and pid.isdigit() and not psutil.pid_exists(int(pid)):  # what else is called so is not ours
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"ohd-ray-{os.getpid()}-", dir=place)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _seen(own: bool, began: float) -> Cluster:
    import ray

    machines = [node for node in ray.nodes() if node["Alive"]]
    return Cluster(own, len(machines), int(ray.cluster_resources().get("GPU", 0)), began)
