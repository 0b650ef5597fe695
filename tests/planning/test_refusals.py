"""Whatever a plan can refuse, it refuses: with its own exit code, a cause and a remedy, before anything is fetched."""

import pytest

from tests.support.recipes import TOY_RECIPE, write_recipe
from wheelsmith.cli.main import main

LOCAL = '[wheel]\nlocal_version = "{}"\n'


def plan(recipe_dir, text, *options):
    write_recipe(recipe_dir, "toy", text)
    return main(["plan", "toy", "--recipes", str(recipe_dir), *options])


@pytest.mark.parametrize(
    ("added", "words"),
    [
        (
            LOCAL.format("not a version!"),
            "wheel.local_version is 'not a version!', which is no local version",
        ),
        (LOCAL.format(""), "wheel.local_version is '', which is no local version"),
        (LOCAL.format("a+b"), "wheel.local_version is 'a+b'"),
        (LOCAL.format("cu{cuda}"), "names an unknown value {cuda}"),
        (
            '[contract]\nmanylinux = "manylinux_2_x"\n',
            "not a manylinux platform (PEP 600), written as in",
        ),
        ('[contract]\nmanylinux = "manylinux_2_3"\n', "not a manylinux platform"),
        ('[contract]\nmanylinux = "manylinux_2_31_x86_64"\n', "not a manylinux platform"),
        ("[contract]\nmax_bytes = 3\n", "unknown key 'contract.max_bytes'"),
        (
            '[[library]]\npath = "*.so"\ncode = "sass"\n',
            "library.0.code: expected 'native', 'jit' or 'none', not 'sass'",
        ),
        ('[[library]]\npath = "*.so"\npromise = "native"\n', "unknown key 'library.0.promise'"),
        ('[[library]]\npath = "*.so"\narchs = "9.9"\n', "library names 9.9, for which no known CUDA toolkit compiles."),
        ('[[library]]\npath = "*.so"\narchs = "9.0+PTX"\n', "library.0.archs: +PTX says nothing here"),
        ('[contract]\nforbidden = "3.0"\n', "contract.forbidden names 3.0, for which no known CUDA toolkit compiles."),
        ('[contract]\nforbidden = "hopper"\n', "contract.forbidden: 'hopper' is not a compute capability."),
    ],
)
def test_a_recipe_that_no_target_can_meet(recipe_dir, capsys, added, words):
    assert plan(recipe_dir, TOY_RECIPE + added) == 12
    error = capsys.readouterr().err
    assert words in error
    assert "toy.toml" in error or "template" in error
    assert "what to do: " in error


@pytest.mark.parametrize(
    ("options", "code", "cause", "remedy"),
    [
        (["--python", "banana"], 14, "'banana' is not a version of Python 3.", "--python 3.12"),
        (["--python", "3.12.1"], 14, "'3.12.1' is a patch release", "--python 3.12"),
        (["--python", ""], 14, "'' is not a version of Python 3.", "major.minor"),
        (["--python", "3.14t"], 14, "the free-threaded Python 3.14", "--python 3.14"),
        (["--torch", "2.9.1"], 14, "toy does not use torch.", "Leave --torch away"),
        (["--cuda", "13"], 14, "CUDA 13 has several releases", "--cuda 13.5"),
        (["--gpu", "GH200"], 14, "GH200 sits in aarch64 machines only", "--arch 9.0"),
        (["--gpu", "RTX 4000"], 13, "may be one of several GPUs", "RTX 4000 Ada (8.9)"),
        (["--gpu", "V100"], 14, "CUDA 13.0 cannot compile for sm_70 (Volta)", "CUDA 12.9 is the last that can"),
        (["--arch", "10.7"], 14, "CUDA 13.0 cannot compile for sm_107 (Rubin)", "CUDA 13.4 is the first known to"),
        (["--arch", "99.0"], 14, "CUDA 13.0 cannot compile for sm_990", "No known toolkit can"),
        (["--arch", "9.0", "--option", "fast=on"], 2, "has no option 'fast'", "It has none"),
    ],
)
def test_a_target_that_contradicts_itself(recipe_dir, capsys, options, code, cause, remedy):
    assert plan(recipe_dir, TOY_RECIPE, *options) == code
    error = capsys.readouterr().err
    assert cause in error
    assert remedy in error


@pytest.mark.parametrize("torch", ["", "banana", "2.9.*", ">=2"])
def test_a_torch_that_is_no_version(capsys, torch):
    assert main(["plan", "vllm==0.16.0", "--torch", torch]) == 14
    assert f"{torch!r} is not a version of torch." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("requirement", "code", "words"),
    [
        ("to y", 2, "as in vllm==0.15.1"),
        ("toy @ file:///x", 2, "recipes new 'file:///x'"),
        ("toy; sys_platform ~= 'linux'", 2, "is not a requirement (PEP 508)"),
        ("toy; python_version < '3'", 14, "pip would install nothing"),
        ("toy==1.0+cu128", 14, "--cuda 13.0"),
        ("toy==1.0+mine", 14, "--local mine"),
    ],
)
def test_a_requirement_that_no_build_can_take(recipe_dir, capsys, requirement, code, words):
    write_recipe(recipe_dir, "toy", TOY_RECIPE.replace('cuda = "13.0"', 'cuda = "13.0"\ntorch = "2.11.0"'))
    assert main(["plan", requirement, "--recipes", str(recipe_dir)]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("requirement", "options", "wheel"),
    [
        ("toy[extra]", [], "1.0+cu130"),
        ("Toy >=0.9, <2 ; python_version > '3'", [], "1.0+cu130"),
        ("toy==1.0+cu131", [], "1.0+cu131"),
        ("toy==1.0+cu130.sm86.sm89.sm120", [], "1.0+cu130.sm86.sm89.sm120"),
        ("toy", ["--arch", "8.6;8.9;12.0"], "1.0+cu130.sm86.sm89.sm120"),
        ("toy", ["--arch", "9.0+PTX"], "1.0+cu130.sm90ptx"),
        ("toy", ["--arch", "8.9", "--local", "cu130.mine"], "1.0+cu130.mine"),
        ("toy", ["--cuda", "cu131", "--python", "py312"], "1.0+cu131"),
        ("toy", ["--driver", "570"], "1.0+cu128"),
        ("toy", ["--driver", "575.51.03"], "1.0+cu129"),
        ("toy", ["--driver", "580", "--arch", "7.0"], "1.0+cu129.sm70"),
    ],
)
def test_what_pip_users_type_is_taken(recipe_dir, capsys, requirement, options, wheel):
    write_recipe(recipe_dir, "toy", TOY_RECIPE)
    assert main(["plan", requirement, "--recipes", str(recipe_dir), "--json", *options]) == 0
    assert f'"wheel_version": "{wheel}"' in capsys.readouterr().out


def test_code_that_the_contract_forbids_cannot_be_asked_for(recipe_dir, capsys):
    text = TOY_RECIPE + '[contract]\nforbidden = "8.6"\n'
    assert plan(recipe_dir, text, "--gpu", "RTX 5090") == 0
    assert plan(recipe_dir, text, "--gpu", "A40,RTX 5090") == 14
    assert "is asked for 8.6, and [contract] forbidden" in capsys.readouterr().err


def test_a_local_version_is_written_as_wheels_write_it(recipe_dir, capsys):
    assert plan(recipe_dir, TOY_RECIPE + LOCAL.format("CU{cuda_digits}-Mine"), "--json") == 0
    assert '"local_version": "cu130.mine"' in capsys.readouterr().out


def test_two_spellings_of_a_torch_are_one_plan(capsys):
    digests = set()
    for torch in ("2.10.0", "v2.10.0"):
        assert main(["plan", "vllm==0.16.0", "--torch", torch, "--json"]) == 0
        digests.add(capsys.readouterr().out.partition('"digest": "')[2][:64])
    assert len(digests) == 1
