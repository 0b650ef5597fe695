import io
import json
import sys

import pytest

import wheelsmith
from wheelsmith.cli.main import main
from wheelsmith.errors import UsageError

LOG = """\
[1/1] Building CUDA object one.o
FAILED: [code=1] one.o
/cuda/bin/nvcc -arch=sm_20 -c one.cu -o one.o
nvcc fatal   : Unsupported gpu architecture 'compute_20'
"""


def test_a_file_is_explained_for_people(tmp_path, capsys):
    (tmp_path / "log").write_text(LOG)
    assert main(["explain", str(tmp_path / "log")]) == 0
    out = capsys.readouterr().out
    assert "  | nvcc fatal   : Unsupported gpu architecture 'compute_20'" in out
    assert "repeat      /cuda/bin/nvcc -arch=sm_20 -c one.cu -o one.o" in out
    assert "https://github.com/vllm-project/vllm/issues/8665" in out


def test_standard_input_is_explained_for_programs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG.encode() + b"\xff")))
    assert main(["explain", "-", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["schema_version"], data["id"], data["unit"], data["line"]) == (2, "unsupported-arch", "one.o", 4)


def test_what_is_not_known_is_said_with_an_exit_code(tmp_path, capsys):
    (tmp_path / "log").write_text('a.cu(7): error: identifier "x" is undefined\n')
    assert main(["explain", str(tmp_path / "log")]) == 1
    assert "cause  not known" in capsys.readouterr().out


def test_a_log_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        wheelsmith.explain(tmp_path / "none")


def test_a_healthy_log_says_so_and_is_no_failure(tmp_path, capsys):
    (tmp_path / "log").write_text("[1/2] a\n[2/2] b\n")
    assert main(["explain", str(tmp_path / "log")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("no failure found")
    assert "cause" not in out


def test_a_pipe_is_read_to_its_end_without_being_held(tmp_path):
    import subprocess

    script = (
        "for i in $(seq 3000); do echo '[1/9] Building a.o'; done; printf 'FAILED: b.o\\ncc -c b.c -o b.o\\nKilled\\n'"
    )
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as feed:
        command = [sys.executable, "-m", "wheelsmith", "explain", "-"]
        done = subprocess.run(command, stdin=feed.stdout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("line 3003:")
