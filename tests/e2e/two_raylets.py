"""A Ray cluster of two raylets on this machine: prints its address; a line on stdin takes the second raylet away.

``two_raylets.py CPUS [FOLDER]``: with a folder the second raylet alone has CPUs, and finds the folder empty, as a
machine without shared storage does: it has a mount namespace of its own (Linux, root).

Run as a script by ``test_two_raylets.py``: whoever imports Ray to make a cluster cannot start a local one after.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback, as harness/compute/cluster.py has it

from ray.cluster_utils import Cluster

CLONE_NEWNS = 0x00020000  # linux/sched.h


def hide(folder: str) -> None:
    """For what this process starts from now on the folder is empty."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)


if __name__ == "__main__":
    folder = tempfile.TemporaryDirectory(dir="/tmp", prefix="ohd-")
    os.environ["RAY_TMPDIR"] = folder.name  # it notes its address there, and makes no folder for that
    os.mkdir(os.path.join(folder.name, "ray"))
    small = {
        "num_cpus": int(sys.argv[1]),
        "object_store_memory": 100 * 2**20,
        "include_dashboard": False,
        "temp_dir": folder.name,
    }
    head = {**small, "_system_config": {"worker_niceness": 0}} | ({"num_cpus": 0} if sys.argv[2:] else {})
    cluster = Cluster(initialize_head=True, head_node_args=head)
    if sys.argv[2:]:
        hide(sys.argv[2])
    second = cluster.add_node(**small)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        print("removed", flush=True)
    cluster.shutdown()
    folder.cleanup()
