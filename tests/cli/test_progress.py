from dataclasses import replace

import pytest

from wheelsmith.cli.progress import Reporter, compiling_line, time_left
from wheelsmith.events import Compiling, Event, Note, StageDone, StageStarted, ToolLine, UnitAtWork, UnitDone

GB = 10**9
STATE = Compiling(
    done=12,
    total=40,
    units=11,
    running=(UnitAtWork("csrc/a.cu", 75.0, 3 * GB), UnitAtWork("csrc/b.cu", 5.0, GB)),
    waiting=20,
    slots=4,
    memory=4 * GB,
    free=9 * GB,
    eta_seconds=4000.0,
    hits=3,
    misses=8,
)
EVENTS: list[Event] = [
    StageStarted("compile", "toy 1.0"),
    ToolLine("compile", "[1/40] g++ …"),
    UnitDone("csrc/c.cu", 3.0, 2.9, GB, -9, again=True),
    Note("compile", "csrc/c.cu died of memory", warning=True),
    UnitDone("csrc/d.cu", 3.0, 2.9, GB, 1),
    STATE,
    StageDone("compile", "done", 9.0),
]
LINES = [
    "compile    warning: csrc/c.cu died of memory",
    "compile    csrc/d.cu failed with status 1",
    "compile    done [9.0 s]",
]


def told(capsys, environment, monkeypatch):
    monkeypatch.setattr("wheelsmith.cli.progress._QUIET_SECONDS", 1e9)
    with Reporter(environment=environment) as reporter:
        for event in EVENTS:
            reporter(event)
        reporter(StageStarted("proof"))
    return capsys.readouterr().err.splitlines()


def test_one_line_says_where_a_compile_is():
    assert compiling_line(STATE) == (
        "12 of 40 steps, about 1 h 06 min left, 2 of 4 slots, 20 waiting, 4.0 GB used, 9.0 GB free,"
        " 3 from the cache, 8 not"
    )


@pytest.mark.parametrize(
    ("seconds", "between", "words"),
    [
        (4000.0, (3500.0, 4500.0), "about 1 h 06 min left"),
        (4000.0, (1000.0, 9000.0), "between 16 min 40 s and 2 h 30 min left"),
        (30.0, (1.0, 45.0), "less than a minute left"),
        (None, None, "time left not known"),
    ],
)
def test_the_time_left_is_one_figure_where_it_is_known_to_a_quarter_and_two_elsewhere(seconds, between, words):
    assert time_left(replace(STATE, eta_seconds=seconds, eta_between=between)) == words


def test_a_log_gets_plain_lines(capsys, monkeypatch):
    assert told(capsys, {}, monkeypatch) == LINES


def test_a_long_compile_is_heard_of_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr("wheelsmith.cli.progress._QUIET_SECONDS", -1.0)
    with Reporter(environment={}) as reporter:
        reporter(STATE)
    expected = f"compile    {compiling_line(STATE)}; longest: csrc/a.cu 1 min 15 s 3.00 GB"
    assert capsys.readouterr().err.splitlines() == [expected]


def test_github_folds_stages(capsys, monkeypatch):
    lines = told(capsys, {"GITHUB_ACTIONS": "true"}, monkeypatch)
    assert lines == ["::group::compile toy 1.0", *LINES[:2], "::endgroup::", LINES[2], "::group::proof", "::endgroup::"]


@pytest.mark.parametrize("stage", ["compile", "proof"])
def test_gitlab_folds_stages(capsys, monkeypatch, stage):
    text = "\n".join(told(capsys, {"GITLAB_CI": "true"}, monkeypatch))
    assert text.index(":wheelsmith_" + stage) < text.index("section_end", text.index("wheelsmith_" + stage))
    assert text.count("section_start:") == text.count("section_end:") == 2


def test_what_a_build_says_commands_neither_the_terminal_nor_the_ci_system(capsys):
    with Reporter(verbose=True, environment={"GITHUB_ACTIONS": "true"}) as reporter:
        reporter(ToolLine("compile", "\x1b[31mred\x1b[0m \x1b]0;title\x07\r::error::x \ud800"))
        reporter(Note("compile", "a\n::add-mask::b\x9b2J"))
    assert capsys.readouterr().err.split("\n") == [
        "compile    | red \\x1b]0;title\\x07\\r::error::x \\ud800",
        "compile    a",
        "  | ::add-mask::b\\x9b2J",
        "",
    ]
