import json
import subprocess
import sys

import pytest

import wheelsmith
from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.cli.main import main


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from wheelsmith.cli.main import parser; parser().format_help();"
        "print([m for m in ('rich', 'elftools', 'requests', 'build', 'auditwheel') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_plan_prints_the_same_as_json_and_as_text(capsys):
    assert main(["plan", "vllm==0.15.1", "--gpu", "RTX 5090,A40", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema_version"] == 1
    assert data["wheel_version"] == "0.15.1+cu128"
    assert data["target"]["archs"] == "8.6;12.0"
    assert data["pins"]["torch"] == "2.9.1"
    assert main(["plan", "vllm==0.15.1", "--arch", "8.6;12.0"]) == 0
    text = capsys.readouterr().out
    assert data["digest"] in text
    assert data["source"]["commit"] in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["plan", "vlm"], 10, "Did you mean vllm"),
        (["plan", "vllm==9"], 11, "Choose one of vllm==0.33.0, vllm==0.3"),
        (["plan", "vllm", "--gpu", "RTX 5O90"], 13, "RTX 5090"),
        (["plan", "vllm", "--gpu", "RTX 5090", "--arch", "sm_100"], 14, "sm_120"),
        (["plan", "vllm", "--cuda", "12.6"], 14, "CUDA 12.8 is the first"),
        (["plan", "???"], 2, "vllm==0.15.1"),
        (["inspect", "/nonexistent.whl"], 2, "what to do"),
    ],
)
def test_each_mistake_has_its_exit_code_a_cause_and_a_remedy(capsys, arguments, code, words):
    assert main(arguments) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("wheelsmith: ")
    assert "  what to do: " in shown.err
    assert words in shown.err


def test_a_broken_recipe_is_named_with_its_line(capsys, recipe_dir):
    path = write_recipe(recipe_dir, "toy", TOY_RECIPE.replace("[defaults]", "[defualts]"))
    assert main(["plan", "toy", "--recipes", str(recipe_dir)]) == 12
    assert f"{path}:7" in capsys.readouterr().err


def test_no_compiler_is_found_out_before_anything_is_fetched(capsys, recipe_dir, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *what, **where: None)
    assert main(["build", "toy", "--recipes", str(recipe_dir)]) == 30
    assert "apt-get install g++" in capsys.readouterr().err


@pytest.mark.usefixtures("pretended_toolkit")
def test_too_little_disk_is_found_out_before_anything_is_fetched(capsys, recipe_dir, monkeypatch):
    compiler = recipe_dir / "g++"  # this machine's may be too new for every CUDA
    compiler.write_text('#!/bin/sh\ncase $* in --version) echo "g++ (GCC) 13.3.0" ;; *) exec g++ "$@" ;; esac\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CUDAHOSTCXX", str(compiler))
    write_recipe(recipe_dir, "toy", TOY_RECIPE.replace("disk_gb = 0.1", "disk_gb = 1e9"))
    assert main(["build", "toy", "--recipes", str(recipe_dir)]) == 70
    assert "needs about 1e+09 GB" in capsys.readouterr().err
    assert main(["doctor", "toy", "--recipes", str(recipe_dir), "--json"]) == 70
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["disk"]["ok"] is False
    assert checks["C++ compiler"]["ok"] is True


@pytest.mark.parametrize("command", [["recipes", "--json"], ["gpus", "--json"], ["recipes", "schema"]])
def test_tables_have_json(capsys, command):
    assert main(command) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_a_signature_that_would_be_lost_is_refused_before_anything_is_done(capsys):
    words = ["build", "cuvec==6.0.1", "--container", "none", "--index", "s3://bucket/wheels", "--sign", "key.pem"]
    assert main(words) == 2
    assert "A provenance cannot be signed on its way into s3://bucket/wheels." in capsys.readouterr().err


def test_ctrl_c_outside_of_a_compile_ends_with_130(monkeypatch, capsys):
    def interrupted(*what, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(wheelsmith, "doctor", interrupted)
    assert main(["doctor"]) == 130
    assert "Run the same command again" in capsys.readouterr().err
