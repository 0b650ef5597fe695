"""The deployment examples are what their systems take, as far as that can be told without them."""

from __future__ import annotations

import importlib.util
import inspect
import json
import runpy
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples/farm"


def yaml(path: Path):
    return pytest.importorskip("ruamel.yaml").YAML(typ="safe").load(path.read_text("utf-8"))


def test_the_compose_file_is_one():
    schemas = pytest.importorskip("check_jsonschema").__path__[0]
    schema = json.loads(Path(schemas, "builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))
    data = yaml(EXAMPLES / "compose.yml")
    assert [error.message for error in jsonschema.validators.validator_for(schema)(schema).iter_errors(data)] == []
    worker = data["services"]["worker"]
    assert worker["environment"]["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "true"
    published = [port for service in data["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)  # a scheduler's port runs code
    assert "redis" not in data["services"]["scheduler"].get("environment", {}).get("WHEELSMITH_CACHE", "")


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


def test_ssh_calls_what_there_is():
    distributed = pytest.importorskip("distributed")
    example = runpy.run_path(str(EXAMPLES / "ssh.py"))
    from distributed import Nanny, Scheduler

    inspect.signature(distributed.SSHCluster).bind(["a"], worker_options={}, scheduler_options={})
    known = inspect.signature(Nanny.__init__).parameters
    assert example["WORKER"].keys() - {"n_workers"} <= known.keys()
    assert example["SCHEDULER"].keys() <= inspect.signature(Scheduler.__init__).parameters.keys() | {"port"}


def test_kubernetes_takes_the_cluster():
    data = yaml(EXAMPLES / "kubernetes.yml")
    assert (data["apiVersion"], data["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    for part in ("worker", "scheduler"):
        (container,) = data["spec"][part]["spec"]["containers"]
        assert {"name": "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "value": "true"} in container["env"]
    found = importlib.util.find_spec("dask_kubernetes")
    if found is None or found.origin is None:
        pytest.skip("dask-kubernetes is not installed")
    root = Path(found.origin).parents[1]
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT4

    def retrieve(uri: str) -> Resource:
        parts = urlsplit(uri)
        return Resource.from_contents(yaml(root / parts.netloc / parts.path.lstrip("/")), default_specification=DRAFT4)

    definitions = "python://dask_kubernetes/operator/customresources/templates.yaml"
    schema = {"$ref": f"{definitions}#/definitions/dask.k8s.api.v1.DaskCluster"}
    validator = jsonschema.Draft4Validator(schema, registry=Registry(retrieve=retrieve))
    assert [error.message for error in validator.iter_errors(data)] == []
    del data["spec"]["worker"]["spec"]["containers"][0]["name"]
    assert [error.message for error in validator.iter_errors(data)] != []
