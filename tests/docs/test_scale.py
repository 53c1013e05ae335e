"""docs/scale.md: its scripts parse, and SECURITY.md promises what the code does."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from harness.cli import build

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S)
CODE = [*ROOT.glob("harness/**/*.py"), *ROOT.glob("encoders/**/*.py"), *ROOT.glob("tasks/**/*.py")]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash parses the scripts")
@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_of_the_page_parse(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_slurms_script_has_its_directives_before_its_first_command():
    lines = SCRIPTS[0].splitlines()
    assert lines[0] == "#!/bin/bash"
    assert [line for line in lines if line.startswith("#SBATCH")] == lines[1 : 1 + SCRIPTS[0].count("#SBATCH")]


# ray-project/kuberay @ feeaf72, ray-operator/config/crd/bases/ray.io_rayjobs.yaml, version v1: properties of spec
RAY_JOB = {
    *(
        "activeDeadlineSeconds",
        "backoffLimit",
        "clusterSelector",
        "deletionStrategy",
        "entrypoint",
        "entrypointNumCpus",
    ),
    *("entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata", "preRunningDeadlineSeconds"),
    *("rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes", "submissionMode", "submitterConfig"),
    *("submitterPodTemplate", "suspend", "ttlSecondsAfterFinished"),
}
RAY_CLUSTER = {
    *("authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headGroupSpec"),
    *("headServiceAnnotations", "historyServerOptions", "managedBy", "networkPolicy", "rayVersion", "suspend"),
    *("tlsOptions", "upgradeStrategy", "workerGroupSpecs"),
}
WORKER_GROUP = {
    *("groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "numOfHosts", "priority"),
    *("rayStartParams", "replicas", "resources", "scaleStrategy", "suspend", "template"),
}


def test_kuberays_file_has_the_fields_that_kuberay_knows_and_needs_and_a_command_that_parses():
    [text] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    job = yaml.safe_load(text)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert set(job["spec"]) <= RAY_JOB
    assert set(cluster) <= RAY_CLUSTER
    [group] = cluster["workerGroupSpecs"]
    assert {"groupName", "maxReplicas", "minReplicas", "template"} <= set(group) <= WORKER_GROUP
    pods = [cluster["headGroupSpec"]["template"]["spec"], group["template"]["spec"]]
    for pod in pods:
        names = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for one in pod["containers"] for mount in one["volumeMounts"]} == names
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    assert cluster["rayVersion"] == tested["ray"]
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:2] == ["ohd-bench", "run"]
    known = {name for one in get_command(build()).commands["run"].params for name in one.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_the_simulation_prints_what_the_page_says():
    done = subprocess.run([sys.executable, "-m", "benchmarks.stragglers"], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout in PAGE


def test_no_model_runs_code_of_its_own_and_no_pickle_is_executed():
    for path in CODE:
        text = path.read_text(encoding="utf-8")
        assert "trust_remote_code=True" not in text, path
        for call in re.findall(r"torch\.load\((.*)", text):
            assert "weights_only=True" in call, path


def test_nothing_of_ours_listens():
    for path in CODE:
        assert not re.search(r"\.listen\(|HTTPServer|socketserver|create_server", path.read_text(encoding="utf-8")), (
            path
        )
