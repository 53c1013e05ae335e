"""A Ray cluster of two raylets on this machine: prints its address; a line on stdin takes the second raylet away.

Run as a script by ``test_two_raylets.py``: whoever imports Ray to make a cluster cannot start a local one after.
"""

from __future__ import annotations

import os
import sys
import tempfile

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback, as harness/compute/cluster.py has it

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    folder = tempfile.TemporaryDirectory(dir="/tmp", prefix="ohd-")
    small = {
        "num_cpus": int(sys.argv[1]),
        "object_store_memory": 100 * 2**20,
        "include_dashboard": False,
        "temp_dir": folder.name,
    }
    cluster = Cluster(initialize_head=True, head_node_args={**small, "_system_config": {"worker_niceness": 0}})
    second = cluster.add_node(**small)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        print("removed", flush=True)
    cluster.shutdown()
    folder.cleanup()
