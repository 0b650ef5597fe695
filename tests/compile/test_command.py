import shlex

import pytest

from wheelsmith.compile.command import Unit, understand

ROOT = "/b"


def read(line, directory="/b/src/build"):
    return understand(shlex.split(line), directory, ROOT)


@pytest.mark.parametrize(
    ("line", "unit"),
    [
        (
            "/b/cuda/bin/nvcc -forward-unknown-to-host-compiler -DX -I../csrc -O3"
            " --generate-code=arch=compute_86,code=[sm_86] --generate-code=arch=compute_120,code=[compute_120,sm_120]"
            " -MD -MT a.o -MF a.o.d -x cu -c /b/src/csrc/a.cu -o a.o",
            Unit("src/csrc/a.cu", "cuda", ("compute_120", "sm_120", "sm_86"), "-O3", 1, "/b/src/build/a.o", passes=2),
        ),
        (
            "nvcc -gencode arch=compute_90a,code=sm_90a -gencode=arch=compute_80,code=sm_80 -t 4 -c ../b.cu -o b.o",
            Unit("src/b.cu", "cuda", ("sm_80", "sm_90a"), "", 2, "/b/src/build/b.o"),
        ),
        (
            "nvcc -code=sm_80,sm_120 --threads=1 -c b.cu",
            Unit("src/build/b.cu", "cuda", ("sm_120", "sm_80"), passes=2),
        ),
        ("nvcc -arch=sm_90 --threads=0 -dc b.cu", Unit("src/build/b.cu", "cuda", ("sm_90",), "", 1)),
        ("nvcc -code=sm_80,sm_90 -t2 -c b.cu", Unit("src/build/b.cu", "cuda", ("sm_80", "sm_90"), "", 2)),
        (
            "g++ -O2 -O0 -fPIC -I/usr/include/x.c -c x.cpp -o o/x.o",
            Unit("src/build/x.cpp", "c++", (), "-O0", 1, "/b/src/build/o/x.o"),
        ),
        ("nvcc -x cu -c a.cpp -o a.o", Unit("src/build/a.cpp", "cuda", output="/b/src/build/a.o")),
        ("gcc -c /elsewhere/tmp81/y.c", Unit("y.c", "c")),
        ("c++ -shared -o ../lib.so a.o b.o -L/x -lcudart", Unit("src/lib.so", "link", output="/b/src/lib.so")),
        ("c++ @objects.rsp -o lib.so", Unit("src/build/lib.so", "link", output="/b/src/build/lib.so")),
        ("g++ main.cc", Unit("src/build/main.cc", "c++")),
    ],
)
def test_units(line, unit):
    assert read(line) == unit


@pytest.mark.parametrize(
    "line",
    [
        *(
            "g++ --version",
            "g++",
            "gcc -v",
            "gcc -dumpmachine",
            "g++ -E x.cpp",
            "g++ -MM x.cpp",
            "nvcc -dryrun -c a.cu",
        ),
        *("gcc -print-prog-name=cc1plus", "g++ -Wp,-v -fsyntax-only x.cpp", "g++ -o a.o -c", "nvcc --list-gpu-arch"),
    ],
)
def test_what_makes_nothing_is_no_unit(line):
    assert read(line) is None


def test_the_probes_of_cmake_are_no_units():
    assert (
        read("g++ -o CMakeFiles/cmTC_1.dir/x.cpp.o -c x.cpp", "/b/src/build/CMakeFiles/CMakeScratch/TryCompile-1")
        is None
    )
    assert read("nvcc CMakeCUDACompilerId.cu", "/b/src/build/CMakeFiles/4.1.2/CompilerIdCUDA") is None
    assert read("g++ -o CMakeFiles/toy.dir/x.cpp.o -c ../x.cpp") is not None
