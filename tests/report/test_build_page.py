"""The report of a build: figures of its records, nothing loaded, nothing of a stranger's text as markup."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.diagnostics.warnings import Warned, warnings_of
from wheelsmith.documents.builds import TimelineDocument
from wheelsmith.report import charts, hints
from wheelsmith.report.build_page import build_page

UNIT = {
    "name": "csrc/a.cu",
    "kind": "cuda",
    "archs": ["sm_86"],
    "threads": 1,
    "asked": 0.0,
    "start": 0.0,
    "end": 10.0,
    "peak": 2_000_000_000,
    "expected_peak": 0,
    "cpu_seconds": 9.5,
    "expected_cpu_seconds": 0.0,
    "status": 0,
    "cache": "miss",
    "attempt": 1,
    "death": "",
}
SAMPLE = {"at": 0.0, "used": 0, "free": 8_000_000_000, "running": 2, "waiting": 0, "slots": 2}


def _run(units, samples=(), jobs=2):
    return {
        "name": "thing",
        "version": "1.0",
        "key": "k",
        "started": 0.0,
        "jobs": jobs,
        "memory": None,
        "host": {"cpus": jobs, "memory": 16_000_000_000, "kernel": "6", "machine": "x86_64"},
        "summary": {
            "units": len(units),
            "cpu_seconds": sum(unit["cpu_seconds"] for unit in units),
            "seconds": max((unit["end"] for unit in units), default=0.0),
            "busy": 0.9,
            "peak": 2_000_000_000,
            "deaths": 0,
            "hits": 0,
        },
        "units": units,
        "samples": list(samples),
    }


def _unit(name, start, end, **more):
    return UNIT | {"name": name, "start": start, "end": end, "cpu_seconds": end - start} | more


def test_units_lie_one_after_the_other_on_the_fewest_slots():
    units = [_unit("a", 0, 4), _unit("b", 0, 2), _unit("c", 2, 3), _unit("d", 4, 5)]
    assert [[unit["name"] for unit in row] for row in charts.slots(units)] == [["b", "c", "d"], ["a"]]


def test_what_held_the_build_up_is_told_with_its_figures():
    units = [_unit("long.cu", 0, 90), *(_unit(f"s{i}.cu", 0, 10) for i in range(3))]
    waiting = [SAMPLE | {"at": at, "running": 1, "waiting": 2, "slots": 1} for at in (0.0, 30.0, 60.0, 90.0)]
    told = hints.faster(_run(units, waiting, jobs=4))
    assert told[0].startswith("Memory held it up: for 1 min 30 s (100% of the time)")
    assert told[1] == "In the last 1 min 20 s fewer than 2 units ran; the last to end was long.cu (1 min 30 s)."
    assert told[2].startswith("long.cu alone takes 1 min 30 s of 1 min 30 s")
    assert told[3].startswith("4 units were compiled and put into the cache")
    assert hints.bound(_run(units, jobs=4)) == 90


def test_a_healthy_build_is_not_scolded():
    units = [_unit(f"s{i}.cu", i // 2 * 10, i // 2 * 10 + 10, cache="hit") for i in range(20)]
    assert hints.faster(_run(units, [SAMPLE, SAMPLE | {"at": 100.0}])) == ()


def test_a_unit_that_died_of_memory_is_marked_and_counted():
    units = [_unit("big.cu", 0, 50, death="killed", status=-9), _unit("big.cu", 50, 100)]
    page = build_page({"schema_version": 1, "runs": [_run(units)]}, None)
    assert "1 compilers came to nothing (1 of them for want of memory): 50 CPU-seconds." in page
    assert page.count('class="unit failed"') == 1
    assert "There is no wheel of this build in the store" in page


@given(st.text(min_size=1, max_size=40))
def test_no_text_of_a_stranger_is_markup(text):
    hostile = f'"><script>{text}</script>'
    page = build_page(
        {"schema_version": 1, "runs": [_run([_unit(hostile, 0, 1)])]},
        None,
        (Warned(hostile, hostile, hostile, 1, 1, 1),),
    )
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")


LOG = b"""\
CMake Warning at cmake/cuda.cmake:332 (message):
  pytorch is not compatible with `CMAKE_CUDA_ARCHITECTURES` and will ignore
  its value.

CMake Warning (dev) at CMakeLists.txt:10 (find_package):
  Policy CMP0146 is not set.

[1/3] Building CUDA object a.cu.o
/src/a.cu:12:3: warning: unused variable 'x' [-Wunused-variable]
/src/b.cu:13:3: warning: unused variable 'x' [-Wunused-variable]
/src/a.cu(77): warning #177-D: variable "y" was declared but never referenced
ptxas warning : Value of threads per SM for entry k is out of range.
/usr/bin/ld: warning: x.o: missing .note.GNU-stack section implies executable stack
-- warnings are errors: off
"""


def test_the_warnings_of_a_log_by_kind():
    found = warnings_of(LOG.splitlines(keepends=True))
    assert [(one.kind, one.count, one.file, one.line, one.at) for one in found] == [
        ("-Wunused-variable", 2, "/src/a.cu", 12, 9),
        ("CMake", 1, "cmake/cuda.cmake", 332, 1),
        ("CMake", 1, "CMakeLists.txt", 10, 5),
        ("#177-D", 1, "/src/a.cu", 77, 11),
        ("ptxas", 1, "", 0, 12),
        ("ld", 1, "", 0, 13),
    ]
    assert found[1].text == "pytorch is not compatible with `CMAKE_CUDA_ARCHITECTURES` and will ignore its value."


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_log_can_be_read(lines):
    assert all(one.count >= 1 for one in warnings_of(lines))


@pytest.mark.parametrize(
    ("value", "text"), [(0.42, "0.4 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (7384, "2 h 3 min")]
)
def test_a_duration_for_people(value, text):
    assert charts.seconds(value) == text


def test_the_page_leaves_its_records_alone():
    document: TimelineDocument = {"schema_version": 1, "runs": [_run([_unit("a", 0, 1)], [SAMPLE])]}
    before = deepcopy(document)
    build_page(document, None)
    assert document == before
