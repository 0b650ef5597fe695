"""The deployment examples are what their systems take, as far as that can be told without them."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.support.farming import has_slurm

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[2] / "examples/dask"


def yaml(path: Path):
    return pytest.importorskip("ruamel.yaml").YAML(typ="safe").load(path.read_text("utf-8"))


def test_the_compose_file_is_one():
    schemas = pytest.importorskip("check_jsonschema").__path__[0]
    schema = json.loads(Path(schemas, "builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))
    data = yaml(EXAMPLES / "compose.yml")
    assert [error.message for error in jsonschema.validators.validator_for(schema)(schema).iter_errors(data)] == []
    worker = data["services"]["worker"]
    assert worker["environment"]["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "true"
    assert worker["cap_add"] == ["SYS_ADMIN", "NET_ADMIN"]  # without the second no build is confined, and none begins
    published = [port for service in data["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)  # a scheduler's port runs code
    assert "redis" not in data["services"]["scheduler"].get("environment", {}).get("WHEELSMITH_CACHE", "")


@pytest.mark.filterwarnings(
    "ignore:Port 8787 is already in use", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # dask-jobqueue leaves the files of its keys to the garbage collector
def test_slurm_gets_a_script_that_a_shell_reads(tmp_path):
    pytest.importorskip("dask_jobqueue")
    from distributed.security import Security

    example = runpy.run_path(str(EXAMPLES / "slurm.py"))
    with example["cluster"](Security.temporary(), str(tmp_path / "keys")) as jobs:
        script = jobs.job_script()
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "#SBATCH --cpus-per-task=16" in script
    assert '. "$HOME/.farm-environment"' in script
    assert "--memory-limit 0" in script
    if has_slurm():
        asked = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True, check=False)
        assert "unrecognized" not in asked.stderr
        assert re.search(r"Job \d+ to start|Requested node configuration is not available", asked.stderr), asked.stderr


def test_podman_compose_reads_the_compose_file(tmp_path):
    """All variables are filled in, and a missing one is an error."""
    pytest.importorskip("podman_compose")
    if shutil.which("podman") is None:
        pytest.skip("podman-compose asks podman for its version first")
    values = {name: name.lower() for name in ("IMAGE", "CACHE_KEY", "S3_KEY", "S3_SECRET", "REDIS_PASSWORD")}

    def read(names) -> subprocess.CompletedProcess[str]:
        (tmp_path / "environment").write_text("".join(f"{name}={values[name]}\n" for name in names))
        command = [sys.executable, "-m", "podman_compose", "--env-file", str(tmp_path / "environment")]
        command += ["-f", str(EXAMPLES / "compose.yml"), "config"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = read(values)
    assert done.returncode == 0, done.stderr
    (tmp_path / "read.yml").write_text(done.stdout)
    worker = yaml(tmp_path / "read.yml")["services"]["worker"]
    assert worker["image"] == "image"
    assert worker["environment"]["WHEELSMITH_CACHE"] == "redis://:redis_password@redis:6379/0"
    assert "CACHE_KEY" in read(set(values) - {"CACHE_KEY"}).stderr


def test_ssh_calls_what_there_is():
    distributed = pytest.importorskip("distributed")
    example = runpy.run_path(str(EXAMPLES / "ssh.py"))
    from distributed import Nanny, Scheduler

    inspect.signature(distributed.SSHCluster).bind(["a"], worker_options={}, scheduler_options={})
    known = inspect.signature(Nanny.__init__).parameters
    assert example["WORKER"].keys() - {"n_workers"} <= known.keys()
    assert example["SCHEDULER"].keys() <= inspect.signature(Scheduler.__init__).parameters.keys() | {"port"}


def test_kubernetes_takes_the_cluster():
    """By the definition that the operator's chart installs: what the API server would hold the file against."""
    data = yaml(EXAMPLES / "kubernetes.yml")
    assert (data["apiVersion"], data["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    for part in ("worker", "scheduler"):
        (container,) = data["spec"][part]["spec"]["containers"]
        assert {"name": "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "value": "true"} in container["env"]
    found = importlib.util.find_spec("dask_kubernetes")
    if found is None or found.origin is None:
        pytest.skip("dask-kubernetes is not installed")
    chart = Path(found.origin).parent / "operator/deployment/helm/dask-kubernetes-operator"
    (version,) = yaml(chart / "crds/daskcluster.yaml")["spec"]["versions"]
    assert version["name"] == "v1"
    validator = jsonschema.Draft202012Validator(version["schema"]["openAPIV3Schema"])
    assert [error.message for error in validator.iter_errors(data)] == []
    del data["spec"]["worker"]["spec"]["containers"][0]["name"]
    assert [error.message for error in validator.iter_errors(data)] == ["'name' is a required property"]


@pytest.mark.parametrize("part", ["worker", "scheduler"])
def test_kubernetes_takes_the_pods_and_the_service(part):
    """By Kubernetes' own schema, which knows all fields: a misspelt one is an error."""
    validate = pytest.importorskip("kubernetes_validate")
    spec = yaml(EXAMPLES / "kubernetes.yml")["spec"][part]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": part}, "spec": spec["spec"]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": part}, "spec": spec.get("service", {})}
    for made in (pod, service):
        validate.validate(made, validate.latest_version(), strict=True)
    pod["spec"]["containers"][0]["securityContexts"] = {}
    with pytest.raises(validate.ValidationError):
        validate.validate(pod, validate.latest_version(), strict=True)
