"""The first real error, cut out of logs as ninja, CMake, setuptools, make and Python write them."""

import subprocess

from wheelsmith.diagnostics.diagnose import diagnose, repeat_script

NINJA = """\
-- Build files have been written to: /tmp/wheelsmith-build/src/build
[1/4] Building CUDA object CMakeFiles/toy.dir/one.cu.o
/src/one.cu(3): warning #177-D: variable "error" was declared but never referenced
[2/4] Building CUDA object CMakeFiles/toy.dir/two.cu.o
FAILED: [code=2] CMakeFiles/toy.dir/two.cu.o
/cuda/bin/nvcc -DNAME="a b" -c /src/two.cu -o CMakeFiles/toy.dir/two.cu.o
/src/two.cu(7): error: identifier "thred" is undefined
    thred.x;
    ^

1 error detected in the compilation of "/src/two.cu".
[3/4] Building CUDA object CMakeFiles/toy.dir/three.cu.o
FAILED: [code=137] CMakeFiles/toy.dir/three.cu.o
/cuda/bin/nvcc -c /src/three.cu -o CMakeFiles/toy.dir/three.cu.o
Killed
ninja: build stopped: subcommand failed.
"""


def test_ninja_the_excerpt_is_of_the_unit_and_its_own_command_is_given():
    found = diagnose(NINJA.replace("[code=2]", "[code=0]").replace("/src/two.cu(7): error:", "/src/two.cu(7): remark:"))
    assert (found.id, found.unit) == ("out-of-memory", "CMakeFiles/toy.dir/three.cu.o")
    assert found.excerpt == "FAILED: [code=137] CMakeFiles/toy.dir/three.cu.o\nKilled"
    assert found.repeat == (
        "cd /tmp/wheelsmith-build/src/build && /cuda/bin/nvcc -c /src/three.cu -o CMakeFiles/toy.dir/three.cu.o"
    )


def test_ninja_an_unknown_error_is_cut_out_with_its_command():
    found = diagnose(NINJA.replace("[code=137]", "[code=2]").replace("Killed", "x.cu(1): error: y"))
    assert (found.id, found.line) == ("", 7)
    assert found.excerpt.splitlines()[:2] == [
        "FAILED: [code=2] CMakeFiles/toy.dir/two.cu.o",
        '/src/two.cu(7): error: identifier "thred" is undefined',
    ]
    assert "three" not in found.excerpt
    assert found.command == '/cuda/bin/nvcc -DNAME="a b" -c /src/two.cu -o CMakeFiles/toy.dir/two.cu.o'


def test_a_cmake_error_is_shown_whole():
    log = """\
-- Detecting CXX compile features - done
CMake Error at CMakeLists.txt:4 (find_package):
  By not providing "FindFoo.cmake" in CMAKE_MODULE_PATH this project has asked
  CMake to find a package configuration file provided by "Foo".

  Add the installation prefix of "Foo" to CMAKE_PREFIX_PATH.


-- Configuring incomplete, errors occurred!

*** CMake configuration failed
"""
    excerpt = diagnose(log).excerpt
    assert excerpt.startswith("CMake Error at CMakeLists.txt:4")
    assert 'Add the installation prefix of "Foo"' in excerpt
    assert "incomplete" not in excerpt


def test_setuptools_echoes_the_command_that_failed():
    log = """\
running build_ext
g++ -fPIC -c csrc/ok.cpp -o build/ok.o
/cuda/bin/nvcc -I/x -c csrc/k.cu -o build/temp/csrc/k.o --threads 4
csrc/k.cu(12): error: no operator "+" matches these operands
1 error detected in the compilation of "csrc/k.cu".
error: command '/cuda/bin/nvcc' failed with exit code 2
"""
    found = diagnose(log)
    assert found.line == 4
    assert found.unit == "build/temp/csrc/k.o"
    assert found.repeat == "/cuda/bin/nvcc -I/x -c csrc/k.cu -o build/temp/csrc/k.o --threads 4"


def test_a_traceback_is_shown_to_its_last_line():
    log = """\
running egg_info
Traceback (most recent call last):
  File "setup.py", line 3, in <module>
    import nothing
ModuleNotFoundError: No module named 'nothing'
ERROR Backend subprocess exited when trying to invoke get_requires_for_build_wheel
"""
    excerpt = diagnose(log).excerpt.splitlines()
    assert excerpt[0] == "Traceback (most recent call last):"
    assert "ModuleNotFoundError: No module named 'nothing'" in excerpt


def test_the_linker_is_asked_before_those_who_called_it():
    log = """\
/usr/bin/g++ -shared a.o -o toy.so -lcublas
/usr/bin/ld: cannot find -lcublas: No such file or directory
collect2: error: ld returned 1 exit status
error: command '/usr/bin/g++' failed with exit code 1
"""
    found = diagnose(log)
    assert found.line == 2
    assert found.command == "/usr/bin/g++ -shared a.o -o toy.so -lcublas"


def test_without_any_error_the_last_lines_are_shown():
    found = diagnose("one\ntwo\n\n")
    assert (found.excerpt, found.line, found.repeat) == ("one\ntwo", 0, "")


def test_a_script_repeats_just_the_unit_that_failed(tmp_path):
    tool = tmp_path / "g++"
    tool.write_text('#!/bin/sh\necho "$PWD $NAME $*"\nexit 3\n')
    tool.chmod(0o755)
    (tmp_path / "my build").mkdir()
    log = (
        f"ninja: Entering directory `{tmp_path}/my build'\nFAILED: a.o\n"
        "g++ -DX='a b' -c a.cpp -o a.o\na.cpp:1:1: error: x\n"
    )
    variables = {"PATH": f"{tmp_path}:/bin:/usr/bin", "NAME": "it's"}
    script = repeat_script(diagnose(log), lambda command: command, variables)
    (tmp_path / "repeat.sh").write_text(script)
    done = subprocess.run(["/bin/sh", tmp_path / "repeat.sh"], cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, f"{tmp_path}/my build it's -DX=a b -c a.cpp -o a.o\n")


IDENTIFICATION = """\
-- The CXX compiler identification is GNU 14.2.0
CMake Error at /share/cmake/Modules/CMakeDetermineCompilerId.cmake:966 (message):
  Compiling the CUDA compiler identification source file
  "CMakeCUDACompilerId.cu" failed.

  Compiler: /usr/local/cuda/bin/nvcc

  Build flags:

  Id flags: --keep;--keep-dir;tmp -v



  The output was:

  2

VARIABLES
  #$ cudafe++ --c++17 --gnu_version=130300 --display_error_number
  --orig_src_file_name "CMakeCUDACompilerId.cu"

  /usr/include/x86_64-linux-gnu/bits/mathcalls.h(79): error: exception
  specification is incompatible with that of previous function "cospi"

     extern double cospi (double __x) noexcept (true);
                                      ^

  # --error 0x2 --

Call Stack (most recent call first):
  /share/cmake/Modules/CMakeDetermineCompilerId.cmake:8 (CMAKE_DETERMINE_COMPILER_ID_BUILD)
"""


def test_cmakes_identification_of_a_compiler_is_shown_from_the_error_on():
    variables = "".join(f"  #$ NAME{number}=value\n\n" for number in range(30))
    found = diagnose(IDENTIFICATION.replace("VARIABLES\n", variables))
    assert found.excerpt.splitlines()[4:8] == [
        "  The output was: …",
        '  --orig_src_file_name "CMakeCUDACompilerId.cu"',
        "  /usr/include/x86_64-linux-gnu/bits/mathcalls.h(79): error: exception",
        '  specification is incompatible with that of previous function "cospi"',
    ]
    assert "NAME" not in found.excerpt
