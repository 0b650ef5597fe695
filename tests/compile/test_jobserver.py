"""Launchers, a jobserver, and compilers that are shell scripts: the whole way of a unit, without a build."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from wheelsmith.compile.command import Unit
from wheelsmith.compile.compiler_wrappers import lay_wrappers
from wheelsmith.compile.cost_model import CostModel
from wheelsmith.compile.jobserver import Jobserver
from wheelsmith.compile.process import Governed, remove_unfinished, run_process
from wheelsmith.compile.sandbox import Isolation, Room
from wheelsmith.compile.scheduler import Capacity, Scheduler
from wheelsmith.compile.timeline import Timeline
from wheelsmith.documents.builds import RunHead
from wheelsmith.errors import InterruptedBuildError
from wheelsmith.events import Compiling, Event, Note, ToolLine, UnitDone

pytestmark = pytest.mark.e2e

# Says who runs, fails if another one does, and writes its output.
LONELY = """
mkdir busy 2>/dev/null || { echo "two at once" >&2; exit 3; }
sleep 0.1; rmdir busy; echo object of $2 > $4
"""
# Dies as if the kernel had killed it, if another one runs too; NAME.dies always does.
MORTAL = """
mkdir $2.on; sleep 0.3
[ $(ls -d *.on 2>/dev/null | wc -l) -gt 1 ] && [ $2 = a.cpp ] || [ -e $2.dies ] && {
    rmdir $2.on; echo noise >&2; kill -9 $$
}
sleep 0.3; rmdir $2.on; echo object of $2 > $4
"""


@dataclass(frozen=True)
class Chain:
    prefix: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    binds: tuple[tuple[Path, str], ...] = ()


class House:
    """A room with fake compilers, and what was told while a script ran in it."""

    def __init__(self, root: Path, *, chain: Chain | None = None, **compilers: str) -> None:
        self.root, self.chain = root, chain
        self.told: list[Event] = []
        for directory in ("src", "real", "toolkit/bin", "toolkit/include"):
            (root / directory).mkdir(parents=True)
        for name, text in compilers.items():
            path = root / ("toolkit/bin/nvcc" if name == "nvcc" else "real/g++")
            path.write_text(f"#!/bin/sh\n{text}")
            path.chmod(0o755)
        self.search = [(root / "real", f"{root}/real"), (Path("/usr/bin"), "/usr/bin"), (Path("/bin"), "/bin")]
        self.timeline, self.model = Timeline(cast(RunHead, {}), cpus=2, earlier=[]), CostModel(1000)
        self.lay()

    def lay(self) -> None:
        self.room = Room(self.root, self.root / "env", self.root / "toolkit", Isolation(False))
        self.wrappers = lay_wrappers(self.room, self.search, fallback_jobs=1, chain=self.chain)  # type: ignore[arg-type]  # of the same shape

    def governed(self, jobs: int, until: float | None = None) -> Governed:
        scheduler = Scheduler(self.model, Capacity(jobs), timeline=self.timeline, listener=self.told.append)
        cached = self.chain is not None
        return Governed(self.root / "launch", str(self.root), scheduler, self.timeline, cached, lambda: None, until)

    def run(self, script: str, *, jobs: int = 2, until: float | None = None) -> int:
        head = f"cd {self.root}/src; PATH={self.wrappers.path}:{self.root}/cuda/bin:{self.root}/real:$PATH; "
        paths = [(self.root.parent, True)] if self.chain else []  # where the tests have their caches
        command = self.room.command(["sh", "-c", head + script], paths=paths, leashed=True)
        return run_process(command, self.root / "log", self.governed(jobs, until), self.told.append)

    @property
    def units(self) -> list[tuple[str, int, bool]]:
        return [(event.name, event.status, event.again) for event in self.told if isinstance(event, UnitDone)]

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.told if isinstance(event, ToolLine)]


def test_a_unit_passes_the_launcher_with_its_output_and_status(tmp_path):
    house = House(tmp_path, gxx='echo to stdout; echo "to stderr of $2" >&2; [ $2 = a.cpp ] || exit 7')
    assert house.run("g++ -c a.cpp -o a.o; g++ -c b.cpp; exit $?") == 7
    assert house.lines == ["to stdout", "to stderr of a.cpp", "to stdout", "to stderr of b.cpp"]
    assert house.units == [("src/a.cpp", 0, False), ("src/b.cpp", 7, False)]
    assert (house.root / "log").read_text().splitlines()[1:] == house.lines
    assert any(isinstance(event, Compiling) for event in house.told)


def test_no_more_run_than_may(tmp_path):
    house = House(tmp_path, gxx=LONELY)
    assert house.run("for i in 1 2 3 4 5; do g++ -c $i.cpp -o $i.o & done; wait; ls *.o | wc -l", jobs=1) == 0
    assert house.lines == ["5"]
    assert [status for _, status, _ in house.units] == [0] * 5


def test_the_socket_may_be_far_down(tmp_path):
    house = House(tmp_path / ("x" * 100) / ("y" * 100), gxx="echo made > $4")
    assert house.run("g++ -c a.cpp -o a.o") == 0
    assert house.units == [("src/a.cpp", 0, False)]


def test_questions_are_answered_while_the_only_slot_is_taken(tmp_path):
    house = House(
        tmp_path, gxx="if [ $1 = --version ]; then touch asked; else until [ -e asked ]; do sleep 0.05; done; fi"
    )
    assert house.run("g++ -c a.cpp & sleep 0.5; g++ --version; wait", jobs=1) == 0
    assert house.units == [("src/a.cpp", 0, False)]


def test_a_compiler_that_starts_another_needs_one_slot_only(tmp_path):
    # By name, by the wrapper's own path, and the wrapper before the wrapper.
    wrapped = f"{tmp_path}/launch/bin/g++"
    nvcc = f"g++ -c one.cpp && {wrapped} -c two.cpp && {tmp_path}/launch/run {wrapped} -c three.cpp && echo $0"
    house = House(tmp_path, gxx="echo $0 $2", nvcc=nvcc)
    assert house.run(f"{tmp_path}/launch/run {tmp_path}/cuda/bin/nvcc -c a.cu && nvcc -c b.cu", jobs=1) == 0
    assert house.units == [("src/a.cu", 0, False), ("src/b.cu", 0, False)]
    real = [f"{tmp_path}/real/g++ {name}.cpp" for name in ("one", "two", "three")]
    assert house.lines == [*real, f"{tmp_path}/toolkit/bin/nvcc"] * 2


def test_who_is_killed_beside_others_runs_again_alone_and_the_build_goes_on(tmp_path):
    house = House(tmp_path, gxx=MORTAL)
    script = "for i in a b c; do g++ -c $i.cpp -o $i.o || touch failed & done; wait; ls *.o failed 2>/dev/null"
    house.run(script, jobs=3)
    assert house.lines == ["a.o", "b.o", "c.o"]  # nothing failed, and the noise of the attempt is not in the log
    assert sorted(house.units) == [
        *(("src/a.cpp", -9, True), ("src/a.cpp", 0, False)),
        *(("src/b.cpp", 0, False), ("src/c.cpp", 0, False)),
    ]
    (note,) = [event.text for event in house.told if isinstance(event, Note)]
    assert "src/a.cpp died of memory" in note
    assert "beside 2 others" in note
    assert "runs again, alone, and then 2 at once instead of 3" in note
    again = [unit for unit in house.timeline.to_dict()["runs"][0]["units"] if unit["attempt"] == 2]
    assert [(unit["name"], unit["status"]) for unit in again] == [("src/a.cpp", 0)]


def test_who_is_killed_alone_has_failed(tmp_path):
    house = House(tmp_path, gxx=MORTAL)
    assert house.run("touch a.cpp.dies; g++ -c b.cpp -o b.o & g++ -c a.cpp -o a.o; echo $?; wait") == 0
    assert house.lines == ["noise", "137"]
    assert sorted(house.units) == [("src/a.cpp", -9, False), ("src/a.cpp", -9, True), ("src/b.cpp", 0, False)]


def test_without_a_broker_compilers_run_but_not_all_at_once(tmp_path):
    house = House(tmp_path, gxx=LONELY)
    command = [f"{house.wrappers.path}/g++", "-c", "a.cpp", "-o"]
    running = [subprocess.Popen([*command, f"{i}.o"], cwd=tmp_path / "src") for i in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]


def test_when_the_broker_dies_those_who_wait_and_those_who_run_end_well(tmp_path):
    house = House(tmp_path, gxx="sleep 0.3; echo made > $4")
    governed = house.governed(1)
    command = [f"{house.wrappers.path}/g++", "-c", "a.cpp", "-o"]
    with selectors.DefaultSelector() as selector:
        jobserver = Jobserver(governed.launch, governed.seen, governed.scheduler, selector)
        running = [subprocess.Popen([*command, f"{i}.o"], cwd=tmp_path / "src") for i in range(3)]
        while len(governed.scheduler.running) + len(governed.scheduler.waiting) < 3:
            for key, _ in selector.select(jobserver.patience):
                jobserver.handle(key)
            jobserver.tick()
        jobserver.close()
    assert [process.wait() for process in running] == [0, 0, 0]


def test_where_no_socket_can_be_made_the_build_goes_on(tmp_path):
    house = House(tmp_path, gxx=LONELY)
    (tmp_path / "launch/jobserver").mkdir()
    assert house.run("for i in 1 2 3; do g++ -c $i.cpp -o $i.o & done; wait; ls *.o | wc -l", jobs=3) == 0
    assert house.lines == ["3"]
    (note,) = [event for event in house.told if isinstance(event, Note)]
    assert note.warning
    assert "no socket can be made" in note.text


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no Python where a build finds it")
def test_nonsense_on_the_socket_harms_nobody(tmp_path):
    house = House(tmp_path, gxx="true")
    talk = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('../launch/jobserver');"
        " s.sendall(b'\\0\\0\\0\\3x\\0y' + b'\\xff' * 9); s2 = socket.socket(socket.AF_UNIX);"
        " s2.connect('../launch/jobserver'); s2.sendall(b'\\0\\0\\0\\x13/\\0g++\\0-c\\0a.cpp\\0-o\\0a');"
        " s2.recv(9); s2.sendall(b'\\0\\0\\0\\3a\\0b'); s2.recv(9)"
    )
    assert house.run(f'python3 -c "{talk}"; g++ -c a.cpp; echo $?', jobs=1) == 0
    assert house.lines == ["0"]
    assert house.units == [("src/a.cpp", 0, False)]


def test_the_cache_stands_before_compilers_and_its_hits_are_known(tmp_path):
    cache = tmp_path / "cache"
    cache.parent.mkdir(exist_ok=True)
    cache.write_text('#!/bin/sh\necho "# $3" > $CCACHE_STATSLOG\necho $WORD >> $CCACHE_STATSLOG\nWORD= exec "$@"\n')
    cache.chmod(0o755)
    all_of_them = tmp_path / "statistics"
    environment = (("CCACHE_STATSLOG", str(all_of_them)), ("WORD", "direct_cache_hit"))
    house = House(
        tmp_path / "room", chain=Chain((str(cache),), environment), gxx='echo "[$WORD$CCACHE_STATSLOG]" | cut -c1'
    )
    assert house.run("g++ -c a.cpp; g++ -c b.cpp; g++ a.o -o lib.so; g++ --version") == 0
    cached = [(event.name, event.cache) for event in house.told if isinstance(event, UnitDone)]
    assert cached == [("src/a.cpp", "hit"), ("src/b.cpp", "hit"), ("src/lib.so", "")]
    assert all_of_them.read_text().split() == ["#", "a.cpp", "direct_cache_hit", "#", "b.cpp", "direct_cache_hit"]


@pytest.mark.parametrize("said", ["FAILED: [code=7] a.o", "make[2]: *** [Makefile:2: a.o] Error 7"])
def test_when_the_build_has_failed_nobody_who_waits_starts(tmp_path, said):
    house = House(tmp_path, gxx="[ $2 = later.cpp ] || until [ -e go ]; do sleep 0.1; done; [ $2 = later.cpp ]")
    waiting = "sleep 0.5; (g++ -c b.cpp; echo b $?) & sleep 1"
    house.run(f"g++ -c a.cpp & {waiting}; echo '{said}'; sleep 0.5; touch go; wait; g++ -c later.cpp", jobs=1)
    assert house.units == [("src/a.cpp", 1, False), ("src/later.cpp", 0, False)]
    assert house.lines == [said, "wheelsmith: not begun, as another unit has failed", "b 1"]


def test_a_half_written_file_of_a_compiler_that_failed_does_not_count_as_made(tmp_path):
    house = House(tmp_path, gxx="echo half > $4; [ $2 != a.cpp ]")
    assert house.run("g++ -c a.cpp -o a.o; g++ -c b.cpp -o b.o") == 0
    assert remove_unfinished(tmp_path, Path) == 1
    assert [path.name for path in sorted((tmp_path / "src").iterdir())] == ["b.o"]


def test_the_build_leaves_nobody_behind(tmp_path):
    house = House(tmp_path, gxx="true")
    group_of_its_own = "echo $$ > pid; sleep 60"
    assert house.run(f"setsid sh -c '{group_of_its_own}' >/dev/null 2>&1 & until [ -s pid ]; do sleep 0.1; done") == 0
    process = Path("/proc", (tmp_path / "src/pid").read_text(), "cmdline")
    while process.exists() and process.read_bytes():  # of a zombie it is empty
        time.sleep(0.01)


class Interrupting(list):
    """Presses Ctrl-C as often as `times` whenever a compiler says that it has written half its output."""

    def __init__(self, times: int, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.times, self.number = times, number

    def append(self, event):
        super().append(event)
        if isinstance(event, ToolLine) and event.text == "half":
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


def test_the_second_interrupt_stops_every_compiler_and_no_half_written_file_counts_as_made(tmp_path):
    house = House(tmp_path, gxx="echo $$ > pid; echo half > $4; echo half; sleep 60; echo whole > $4")
    house.told = Interrupting(2)
    with pytest.raises(InterruptedBuildError):
        house.run("g++ -c a.cpp -o a.o")
    compiler = Path("/proc", (tmp_path / "src/pid").read_text().strip(), "cmdline")
    while compiler.exists() and compiler.read_bytes():  # of a zombie it is empty
        time.sleep(0.01)
    assert (tmp_path / "src/a.o").read_text() == "half\n"
    assert remove_unfinished(tmp_path, Path) == 1
    assert not (tmp_path / "src/a.o").exists()
    assert remove_unfinished(tmp_path, Path) == 0


SLOW = "echo half > $4; echo half; sleep 1.5; echo whole > $4"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_lets_those_who_run_end_and_nobody_else_begin(tmp_path, number):
    house = House(tmp_path, gxx=SLOW)
    house.told = Interrupting(1, number)
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    script = "(g++ -c a.cpp -o a.o; g++ -c late.cpp -o late.o) & sleep 0.5; g++ -c b.cpp -o b.o; echo b $?; wait"
    with pytest.raises(InterruptedBuildError, match=r"^The build was interrupted\.$"):
        house.run(script, jobs=1)
    assert {path.name: path.read_text() for path in (tmp_path / "src").iterdir()} == {"a.o": "whole\n"}
    assert remove_unfinished(tmp_path, Path) == 0
    assert house.units == [("src/a.cpp", 0, False)]
    (note,) = [event for event in house.told if isinstance(event, Note)]
    assert note.text.startswith("interrupted: nothing new starts, 1 compiler runs to its end, for nobody knows")
    assert any(event.stopping and event.running for event in house.told if isinstance(event, Compiling))
    # Who waited, and who came later, is refused, so that the build tool ends by itself and writes down what is done.
    assert sorted(house.lines) == ["b 1", "half", *2 * ["wheelsmith: not begun, as the build was interrupted"]]
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_interrupt_while_nothing_compiles_stops_at_once(tmp_path):
    house = House(tmp_path, gxx="true")
    house.told = Interrupting(1)
    started = time.monotonic()
    with pytest.raises(InterruptedBuildError):
        house.run("echo half; sleep 60")
    assert time.monotonic() - started < 30


def test_when_the_time_is_over_nothing_new_starts(tmp_path):
    house = House(tmp_path, gxx=SLOW.replace("1.5", "4"))
    with pytest.raises(InterruptedBuildError, match="interrupted: its time is over"):
        house.run("g++ -c a.cpp -o a.o; g++ -c b.cpp -o b.o; echo b $?", until=time.monotonic() + 2)
    assert [path.name for path in (tmp_path / "src").iterdir()] == ["a.o"]
    packing = House(tmp_path / "more", gxx="true")  # what is no compiler may end in time
    assert packing.run("sleep 1; echo packed", until=time.monotonic()) == 0
    assert packing.lines == ["packed"]


def test_a_link_for_which_the_disk_is_too_small_costs_only_the_link(tmp_path):
    """What it has written by then does not count as made; the objects stay."""
    house = House(tmp_path, gxx="[ $1 = -c ] && { echo object > $4; exit; }; echo half > $4; ulimit -f 0; echo x > big")
    assert house.run("g++ -c a.cpp -o a.o && g++ a.o -shared -o lib.so") != 0
    assert house.units[0] == ("src/a.cpp", 0, False)
    assert (house.units[1][0], house.units[1][1] != 0) == ("src/lib.so", True)
    assert remove_unfinished(tmp_path, Path) == 1
    assert [path.name for path in (tmp_path / "src").iterdir() if path.stat().st_size] == ["a.o"]


NVCC = "nvcc -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90 -c a.cu -o a.o"


def test_a_units_passes_run_side_by_side_where_slots_are_free_and_the_cache_does_not_notice(tmp_path):
    """The cache puts its prefix before nvcc when it compiles, and leaves it out of its key."""
    house = House(tmp_path / "a", nvcc='echo "$@" | cut -d" " -f 7-')
    house.model.learn(Unit("src/a.cu", "cuda", ("sm_80", "sm_90")), 1000, 300.0)
    # vLLM's setup.py says 1 when nobody has said anything; of two values nvcc takes the last.
    assert house.run(f"{NVCC}; {NVCC} --threads=1; {NVCC} --threads 2", jobs=2) == 0
    assert house.lines == ["--threads 2", "--threads=1 --threads 2", "--threads 2"]
    text = '#!/bin/sh\necho cache: "$@" | cut -d" " -f 8-; exec $CCACHE_PREFIX "$@"\n'
    cached = with_cache(tmp_path, text, nvcc='echo "$@" | cut -d" " -f 7-')
    cached.model = house.model
    assert cached.run(NVCC, jobs=2) == 0
    assert cached.lines == ["a.o", "--threads 2"]
    assert cached.run(NVCC, jobs=1) == 0
    assert cached.lines[2:] == ["a.o", ""]


# ---- a project's own compiler launcher ------------------------------------------------------------------------------

CACHE = """#!/bin/sh
echo "# $3" > $CCACHE_STATSLOG; echo cache_miss >> $CCACHE_STATSLOG
echo "ours $CCACHE_DIR$CCACHE_DISABLE"; exec "$@"
"""


def with_cache(root: Path, text: str = CACHE, **compilers: str) -> House:
    cache = root / "cache"
    cache.write_text(text)
    cache.chmod(0o755)
    environment = (("CCACHE_STATSLOG", f"{root}/statistics"), ("CCACHE_DIR", "here"))
    return House(root / "room", chain=Chain((str(cache),), environment), **compilers)


@pytest.mark.parametrize(
    "how", ["ccache g++", "$(command -v ccache) g++", "sccache {bin}/g++", "ccache debug=true g++"]
)
def test_a_launcher_that_the_project_finds_leads_to_ours(tmp_path, how):
    """The project's would set CCACHE_DISABLE for what it runs, and with that disable ours, without a word."""
    launchers = [tmp_path / "room/real" / name for name in ("ccache", "sccache")]
    house = with_cache(tmp_path, gxx="echo compiled $2")
    for launcher in launchers:
        launcher.write_text('#!/bin/sh\n[ "$1" = --version ] && echo theirs || CCACHE_DISABLE=1 exec "$@"\n')
        launcher.chmod(0o755)
    house.lay()
    line = how.format(bin=f"{tmp_path}/room/launch/bin")
    assert house.run(f"{line} -c a.cpp -o a.o; ccache --version; CCACHE_DISABLE=1 g++ -c b.cpp") == 0
    assert house.lines == ["ours here", "compiled a.cpp", "theirs", "ours here", "compiled b.cpp"]
    assert house.units == [("src/a.cpp", 0, False), ("src/b.cpp", 0, False)]
    assert [event.cache for event in house.told if isinstance(event, UnitDone)] == ["miss", "miss"]


def test_a_launcher_that_is_named_need_not_be_there(tmp_path):
    house = House(tmp_path, gxx="echo compiled $2")
    assert house.run("PATH=${PATH%%:*}:$PWD/../real; sccache g++ -c a.cpp; ccache --version") == 0
    assert house.lines == ["compiled a.cpp", "ccache: wheelsmith's own compile cache stands in for it"]


def test_a_directory_of_launchers_with_the_names_of_compilers_holds_no_compilers(tmp_path):
    house = House(tmp_path, gxx="echo the real one")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/ccache").write_text("#!/bin/sh\necho theirs\n")
    (tmp_path / "masks/ccache").chmod(0o755)
    (tmp_path / "masks/g++").symlink_to("ccache")
    house.search.insert(0, (tmp_path / "masks", f"{tmp_path}/masks"))
    house.lay()
    assert house.run("g++ -c a.cpp") == 0
    assert house.lines == ["the real one"]


def test_why_the_cache_does_not_serve_is_said_once_for_each_reason(tmp_path):
    text = CACHE.replace("cache_miss", "unsupported_compiler_option").replace("ours", "")
    house = with_cache(tmp_path, text, gxx="[ $2 != bad.cpp ]")
    assert house.run("for i in a b bad; do g++ -c $i.cpp; done; true") == 0
    notes = [event.text for event in house.told if isinstance(event, Note)]
    assert notes == ["the compile cache cannot serve src/a.cpp and its like: unsupported compiler option"]
    silent = with_cache(tmp_path / "room", '#!/bin/sh\nexec "$@"\n', gxx="true")
    assert silent.run("g++ -c a.cpp") == 0
    assert [event.text.rpartition(": ")[2] for event in silent.told if isinstance(event, Note)] == ["it was not asked"]


RULES = """rule CXX_COMPILER__toy_
  depfile = $DEP_FILE
  deps = gcc
  command = {} /usr/bin/c++ $DEFINES -o $out -c $in
rule CUDA_COMPILER__toy_
  command = ${{LAUNCHER}}ccache /room/cuda/bin/nvcc -c $in
rule CXX_STATIC_LIBRARY_LINKER__toy_
  command = /usr/bin/ar qc $out
"""
ENTRIES = "CMAKE_C_COMPILER:FILEPATH=/room/launch/bin/cc\nCMAKE_CUDA_COMPILER:UNINITIALIZED=/room/cuda/bin/nvcc\n"


@pytest.mark.parametrize(
    ("entries", "rules", "told"),
    [
        (ENTRIES, RULES.format("/room/launch/run"), []),
        (ENTRIES, RULES.format("${LAUNCHER}/opt/bin/sccache"), ["C++ compiler with /opt/bin/sccache"]),
        (f"{ENTRIES}CMAKE_CXX_COMPILER_LAUNCHER:STRING=sccache;--x\n", "", []),
        (
            f"{ENTRIES}CMAKE_CUDA_COMPILER_LAUNCHER:UNINITIALIZED=/usr/bin/ccache\n",
            "",
            ["CUDA compiler with /usr/bin/"],
        ),
        ("CMAKE_CXX_COMPILER:STRING=/usr/bin/g++-14\n", "", ["C++ compiler with /usr/bin/g++-14"]),
        ("", "", []),
    ],
)
def test_who_leads_past_us_is_named_when_cmake_is_done(tmp_path, entries, rules, told):
    house = with_cache(tmp_path, gxx="true")
    build = house.root / "src/build"
    (build / "CMakeFiles").mkdir(parents=True)
    (build / "CMakeCache.txt").write_text(entries.replace("/room/", f"{house.root}/"))
    (build / "CMakeFiles/rules.ninja").write_text(rules.replace("/room/", f"{house.root}/"))
    assert house.run(f"echo '-- Build files have been written to: {build}'") == 0
    notes = [event.text for event in house.told if isinstance(event, Note)]
    assert len(notes) == len(told)
    assert all(text in note for text, note in zip(told, notes, strict=True))
