"""An option that nvcc refuses: who passes it decides what to do."""

import pytest

import wheelsmith
from wheelsmith.compile.passers import with_passer
from wheelsmith.diagnostics.diagnose import diagnose

UNKNOWN = "nvcc fatal   : Unknown option '-fast-compile'"


@pytest.fixture
def plan(recipe_dir):
    def make(more: str = ""):
        with (recipe_dir / "toy.toml").open("a") as file:
            file.write(more)
        return wheelsmith.plan("toy", recipes=[recipe_dir])

    return make


def test_the_package_s_own_build(plan):
    found = with_passer(diagnose(UNKNOWN), plan())
    assert found.cause.startswith("nvcc does not know the option '-fast-compile' that it is given: ")
    assert found.remedy == (
        "The recipe does not pass it, the package's own build does: take it out with a [[patch]] in the recipe, or"
        " choose a CUDA release whose nvcc knows it with --cuda"
    )


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ('[build.env]\nTOY_NVCC_FLAGS = "-O3 --fast-compile=2"\n', "[build.env] TOY_NVCC_FLAGS"),
        (
            '[[patch]]\nwhy = "w"\nfile = "setup.py"\nfind = "x"\nreplace = "-fast-compile"\ncount = 1\n',
            "its [[patch]] setup.py",
        ),
    ],
)
def test_the_recipe_by_the_place_in_it(plan, more, place):
    found = with_passer(diagnose(UNKNOWN), plan(more))
    assert found.remedy.startswith(f"The recipe passes it, in {place}: take it out there, or choose")


def test_a_longer_name_is_another_option(plan):
    found = with_passer(diagnose(UNKNOWN), plan('[build.env]\nTOY = "--fast-compile-all --no-fast-compile"\n'))
    assert found.remedy.startswith("The recipe does not pass it")


def test_no_other_toolkit_mends_what_is_said_twice():
    """mmcv: its recipe gives --threads, and torch as well."""
    found = with_passer(diagnose("nvcc fatal   : redefinition of argument 'threads'"), wheelsmith.plan("mmcv"))
    assert (found.id, found.remedy) == (
        "nvcc-arguments",
        "The recipe passes it, in [build.env] MMCV_CUDA_ARGS: take it out there",
    )


def test_what_nvcc_hands_on_to_the_host_compiler(plan):
    log = """CMake Error at CMakeTestCUDACompiler.cmake:70 (message):
  The CUDA compiler

    "/tmp/wheelsmith-build/cuda/bin/nvcc"

  is not able to compile a simple test program.

  It fails with the following output:

    FAILED: [code=1] CMakeFiles/cmTC_0313e.dir/main.cu.o
    nvcc -forward-unknown-to-host-compiler --fast-bogus=2 -x cu -c main.cu -o CMakeFiles/cmTC_0313e.dir/main.cu.o
    gcc: error: unrecognized command-line option ‘--fast-bogus=2’
    ninja: build stopped: subcommand failed.
"""
    found = with_passer(diagnose(log), plan('[build.env]\nCUDAFLAGS = "--fast-bogus=2"\n'))
    assert (found.id, found.remedy) == (
        "compiler-option",
        "The recipe passes it, in [build.env] CUDAFLAGS: take it out there",
    )


def test_other_failures_stay_as_they_are(plan):
    found = diagnose('x.cu(3): error: identifier "y" is undefined')
    assert with_passer(found, plan()) is found
