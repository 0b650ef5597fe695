"""`recipes new`: what a project's files say becomes a recipe that plans; nothing of the project is run."""

import json

import pytest

import wheelsmith
from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.cli.main import main
from wheelsmith.packing import digest_of_directory

SETUP = """
import os, sys
open("ran", "w")
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension
cc_flag = []
cc_flag.append("-gencode")
cc_flag.append("arch=compute_80,code=sm_80")
FORCE = os.getenv("TOY_FORCE_BUILD", "FALSE") == "TRUE"
setup(name="Toy_Ext", version="1.2", python_requires=">=3.9", install_requires=["torch>=2.4"],
      ext_modules=[CUDAExtension("toy_ext._C", ["csrc/toy.cu"], extra_compile_args={"nvcc": ["-O3"] + cc_flag})])
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory with a torch extension that names its archs itself."""
    monkeypatch.setenv("WHEELSMITH_STORE", str(tmp_path / "store"))
    root = tmp_path / "toy"
    (root / "csrc").mkdir(parents=True)
    (root / "toy_ext").mkdir()
    (root / "setup.py").write_text(SETUP)
    (root / "csrc" / "toy.cu").write_text("__global__ void f() {}\n")
    (root / "toy_ext" / "__init__.py").write_text("")
    return root


def test_a_directory_becomes_a_recipe_that_plans(project, tmp_path, capsys):
    assert main(["recipes", "new", str(project), "--to", str(tmp_path / "r"), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["name"], made["version"], made["undecided"]) == ("toy-ext", "1.2", [])
    assert 'TOY_FORCE_BUILD = "TRUE"' in made["text"]
    assert "find = '''+ cc_flag'''" in made["text"]
    assert 'imports = ["toy_ext"]' in made["text"]
    assert not (project / "ran").exists(), "setup.py was run"
    plan = wheelsmith.plan("toy-ext", recipes=[tmp_path / "r"])
    assert (plan.wheel_version, plan.target.torch) == ("1.2+cu130", "2.11.0")
    assert plan.source.sha256 == digest_of_directory(project)
    assert main(["recipes", "check", str(tmp_path / "r" / "toy-ext.toml")]) == 0
    assert main(["recipes", "new", str(project), "--to", str(tmp_path / "r")]) == 2  # it is there already


def test_a_change_of_the_directory_is_another_plan(project, tmp_path):
    wheelsmith.recipe_new(str(project), to=tmp_path / "r")
    before = wheelsmith.plan("toy-ext", recipes=[tmp_path / "r"]).digest
    (project / "__pycache__").mkdir()
    (project / "__pycache__" / "x.pyc").write_text("")
    assert wheelsmith.plan("toy-ext", recipes=[tmp_path / "r"]).digest == before
    (project / "csrc" / "toy.cu").write_text("__global__ void g() {}\n")
    assert wheelsmith.plan("toy-ext", recipes=[tmp_path / "r"]).digest != before


def test_placeholders_and_marks_are_found(recipe_dir, capsys):
    text = TOY_RECIPE.replace("ab" * 32, "0" * 64)
    path = write_recipe(recipe_dir, "toy", text.replace('cuda = "13.0"', 'cuda = "13.0" # undecided: which?'))
    assert main(["recipes", "check", str(path)]) == 3
    shown = capsys.readouterr().out
    assert "undecided: which?" in shown
    assert "the sha256 is a placeholder: no file has it" in shown


def test_a_setup_that_asks_for_a_gpu_is_marked_and_a_switch_in_a_broken_line_is_found(project, tmp_path):
    asks = SETUP.replace(
        'FORCE = os.getenv("TOY_FORCE_BUILD", "FALSE") == "TRUE"',
        "import torch\nif not torch.cuda.is_available(): raise SystemExit",
    )
    (project / "setup.py").write_text(asks)
    draft = wheelsmith.recipe_new(str(project), to=tmp_path / "one").draft
    assert [text for _, text in draft.undecided] == [
        "setup.py:10 asks for a GPU, which compiling does not need"
        " (if not torch.cuda.is_available(): raise SystemExit): patch it out"
    ]
    (project / "setup.py").write_text(asks.replace("raise", 'os.getenv(\n  "FORCE_CUDA", "0"\n) or'))
    draft = wheelsmith.recipe_new(str(project), to=tmp_path / "two").draft
    assert draft.undecided == ()
    assert 'FORCE_CUDA = "1" # setup.py:11 reads it' in draft.text


def test_a_project_without_setup_py_whose_other_scripts_name_archs_is_drafted(tmp_path, monkeypatch):
    monkeypatch.setenv("WHEELSMITH_STORE", str(tmp_path / "store"))
    root = tmp_path / "toy"
    root.mkdir()
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools", "torch"]\nbuild-backend = "build_backend"\nbackend-path = ["."]\n'
        '[project]\nname = "toy"\nversion = "1.0"\n'
    )
    (root / "build_backend.py").write_text('FLAGS = ["-gencode=arch=compute_90a,code=sm_90a"]\n')
    (root / "_build_backend.py").write_text('FLAGS = ["-gencode=arch=compute_90a,code=sm_90a"]\n')
    draft = wheelsmith.recipe_new(str(root), to=tmp_path / "r").draft
    assert draft.name == "toy"
    assert wheelsmith.plan("toy", recipes=[tmp_path / "r"]).version == "1.0"


def test_a_setup_that_turns_ninja_off_is_edited_as_it_would_compile_one_unit_after_the_other(project, tmp_path):
    slow = SETUP.replace(
        "setup(name", 'setup(cmdclass={"build_ext": BuildExtension.with_options(use_ninja = False)}, name'
    )
    (project / "setup.py").write_text(slow)
    wheelsmith.recipe_new(str(project), to=tmp_path / "r")
    archs, ninja = sorted(wheelsmith.plan("toy-ext", recipes=[tmp_path / "r"]).patches, key=lambda patch: patch.find)
    assert archs.find == "+ cc_flag"
    assert (ninja.find, ninja.replace, ninja.count) == ("use_ninja = False", "use_ninja = True", 1)
