from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.cmake.syntax import Argument, CMakeSyntaxError, Command, parse
from wheelsmith.cmake.trees import read_trees
from wheelsmith.cmake.values import holds, possible
from wheelsmith.errors import SourceError


def shown(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    return [(c.name, [(a.kind[0], a.text) for a in c.arguments]) for c in parse(text)]


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("set(A b;c)", [("set", [("u", "A"), ("u", "b;c")])]),
        ("SET (A\n  # why\n  b #[[c]] d)", [("set", [("u", "A"), ("u", "b"), ("u", "d")])]),
        ('a("x \\"y\\" # z" b)', [("a", [("q", 'x \\"y\\" # z'), ("u", "b")])]),
        ('a("one \\\n two")', [("a", [("q", "one  two")])]),
        ("a([==[\nx ]] y]==] z)", [("a", [("b", "x ]] y"), ("u", "z")])]),
        ("#[[ b(c)\n]] a() # d(e)", [("a", [])]),
        (
            "if(NOT (A AND B))\nendif()",
            [("if", [("u", "NOT"), ("p", "("), ("u", "A"), ("u", "AND"), ("u", "B"), ("p", ")")]), ("endif", [])],
        ),
        (
            'a(-Da="b c" $(MAKE) d\\ e ${X}/f)',
            [("a", [("u", '-Da="b c"'), ("u", "$(MAKE)"), ("u", "d\\ e"), ("u", "${X}/f")])],
        ),
        ("\N{BYTE ORDER MARK}a()\r\nb(\r\n)", [("a", []), ("b", [])]),
    ],
)
def test_syntax_as_the_manual_says(text, commands):
    assert shown(text) == commands


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a(", 1),
        ("\n\na(b", 3),
        ('a()\nb("c)', 2),
        ("a()\n)", 2),
        ("a([[b)", 1),
        ("a b", 1),
        ("\n@X@", 2),
        ("#[[ open", 1),
    ],
)
def test_what_is_not_cmake_says_its_line(text, line):
    with pytest.raises(CMakeSyntaxError, match=rf"^line {line}: "):
        parse(text)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
CONTENT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=30)


@given(st.lists(st.tuples(NAMES, st.lists(st.tuples(st.sampled_from(["bracket", "quoted", "unquoted"]), CONTENT)))))
def test_every_command_that_is_written_is_read_again(commands):
    written, expected = "", []
    for name, arguments in commands:
        parts, wanted = [], []
        for kind, content in arguments:
            if kind == "bracket":
                level = 0
                while f"]{'=' * level}]" in f"{content}]":
                    level += 1
                parts.append(f"[{'=' * level}[\n{content}]{'=' * level}]")
                wanted.append(content)
            elif kind == "quoted":
                parts.append('"' + content.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"')
                wanted.append(content)
            elif content.isalnum():
                parts.append(content)
                wanted.append(content)
        written += f"{name} ( # {name}()\n{' '.join(parts)})\n"
        expected.append((name.lower(), wanted))
    read = parse(written)
    assert [(c.name, [possible(a, {})[0] for a in c.arguments]) for c in read] == expected


@given(st.text(alphabet='ab()"\\#[]=${} \n;', max_size=60))
def test_any_text_is_commands_or_a_syntax_error(text):
    try:
        commands = parse(text)
    except CMakeSyntaxError:
        return
    assert all(isinstance(command, Command) for command in commands)
    for command in commands:
        assert holds(command.arguments, {"a": ("x",)}) in {True, False, None}
        assert all(possible(argument, {"a": ("x", "y")}) for argument in command.arguments)


VALUES = {
    "A": ("1",),
    "B": ("x", "y"),
    "N": ("B",),
    "ENV{E}": ("e",),
    "OFF_": ("lib-NOTFOUND",),
    "LANG": ("CUDA", "HIP"),
}


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("v${A}.2", ("v1.2",)),
        ("${B}${B}", ("xx", "xy", "yx", "yy")),
        ("${${N}}", ("x", "y")),
        ("$ENV{E}/${UNKNOWN}", ("e/${UNKNOWN}",)),
        ("$ENV{UNKNOWN}", ("$ENV{UNKNOWN}",)),
        (r"\${A}\"", ('${A}"',)),
        ("$<BUILD:${A}>", ("$<BUILD:1>",)),
    ],
)
def test_references_become_every_value_that_is_possible(text, texts):
    assert possible(Argument(text, "quoted"), VALUES) == texts
    assert possible(Argument(text, "bracket"), VALUES) == (text,)


@pytest.mark.parametrize(
    ("condition", "truth"),
    [
        ("A", True),
        ("OFF_", False),
        ("UNKNOWN", None),
        ("NOT A", False),
        ("TRUE AND UNKNOWN", None),
        ("FALSE AND UNKNOWN", False),
        ("UNKNOWN OR ON", True),
        ("OFF OR NOT (A AND NOT UNKNOWN)", None),
        ("NOT A OR A AND A", True),
        ('LANG STREQUAL "CUDA"', None),
        ('LANG STREQUAL "SYCL"', False),
        ('"${A}" STREQUAL "1"', True),
        ('UNKNOWN STREQUAL "1"', None),
        ('NOT LANG STREQUAL "SYCL" AND NOT A STREQUAL "2"', True),
        ("DEFINED A", True),
        ("DEFINED ENV{E}", True),
        ("DEFINED ENV{F}", None),
        ("A VERSION_GREATER 3", False),
        ("A VERSION_GREATER_EQUAL 1.0.0", True),
        ("UNKNOWN VERSION_LESS 3", None),
        ('"12.10" VERSION_GREATER "12.9"', True),
        ("EXISTS ${A}", None),
        ("A nonsense B", None),
    ],
)
def test_conditions_hold_do_not_hold_or_are_not_known(condition, truth):
    (command,) = parse(f"if({condition})")
    assert holds(command.arguments, VALUES) is truth


def project(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path = path.with_name("CMakeLists.txt" if path.name == "top" else f"{path.name}.cmake")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_tag_in_a_variable_and_the_ways_to_hand_a_tree_over(tmp_path):
    reading = read_trees(
        project(
            tmp_path,
            top="""
            set(REV v2)
            if(DEFINED ENV{DEMO_SRC})
              set(DEMO_SRC $ENV{DEMO_SRC})
            endif()
            if(DEMO_SRC)
              get_filename_component(DEMO_SRC "${DEMO_SRC}" ABSOLUTE)
              FetchContent_Declare(demo SOURCE_DIR ${DEMO_SRC})
            else()
              FetchContent_Declare(demo  # the one to fetch
                GIT_REPOSITORY https://example.org/demo.git GIT_TAG ${REV} GIT_SHALLOW ON SOURCE_SUBDIR lib)
            endif()""",
        )
    )
    (tree,) = reading.trees
    assert (tree.url, tree.ref, tree.commit) == ("https://example.org/demo.git", "v2", None)
    assert tree.env == ("DEMO_SRC",)
    assert tree.defines == ("DEMO_SRC", "FETCHCONTENT_SOURCE_DIR_DEMO")
    assert (tree.subdir, tree.override, tree.where) == ("lib", "lib", "CMakeLists.txt:10")


def test_only_what_can_be_reached_counts(tmp_path):
    declare = "FetchContent_Declare({0} GIT_REPOSITORY https://example.org/{0}.git GIT_TAG v1)\n"
    reading = read_trees(
        project(
            tmp_path,
            top=f"""
            set(DEVICE cuda CACHE STRING "")
            include(cmake/functions.cmake)
            if(DEVICE STREQUAL "cpu")
              include(cmake/cpu.cmake)
            elseif(NOT DEVICE STREQUAL "cuda")
              message(FATAL_ERROR "no such device")
            endif()
            if(WIN32)
              {declare.format("windows")}
            endif()
            fetch(helped v3)
            foreach(name one two)
              {declare.format("${name}")}
            endforeach()
            add_subdirectory(sub)
            include(${{UNKNOWN}}/x.cmake)
            include(cmake/missing.cmake)
            return()
            {declare.format("late")}""",
            cmake__cpu=declare.format("cpu"),
            cmake__unused=declare.format("unused"),
            cmake__functions="""
            function(fetch name tag)
              set(url "https://example.org/${name}.git")
              FetchContent_Declare(${name} GIT_REPOSITORY ${url} GIT_TAG ${tag})
            endfunction()""",
            sub__top="ExternalProject_Add(sub GIT_REPOSITORY https://example.org/sub GIT_TAG " + "ab" * 20 + ")",
        )
    )
    assert {tree.name: tree.ref for tree in reading.trees} == {
        "helped": "v3",
        "one": "v1",
        "two": "v1",
        "sub": "ab" * 20,
    }
    assert reading.trees[-1].commit == "ab" * 20
    assert reading.warnings == (
        "CMakeLists.txt includes ${UNKNOWN}/x.cmake, which is not known.",
        "CMakeLists.txt includes cmake/missing.cmake, which is not in the source.",
    )
    with_cpu = read_trees(tmp_path, {"DEVICE": "cpu"})
    assert "cpu" in {tree.name for tree in with_cpu.trees}


def test_what_either_branch_sets_is_possible_and_two_tags_are_not_a_pin(tmp_path):
    reading = read_trees(
        project(
            tmp_path,
            top="""
            function(pick out)
              if(SOMETHING)
                set(${out} v1 PARENT_SCOPE)
              else()
                set(${out} v2 PARENT_SCOPE)
              endif()
            endfunction()
            pick(TAG)
            FetchContent_Declare(demo GIT_REPOSITORY https://example.org/demo.git GIT_TAG ${TAG})
            FetchContent_Declare(loose GIT_REPOSITORY https://example.org/loose.git)
            FetchContent_Declare(tar URL https://example.org/a-1.tar.gz URL_HASH SHA256=AB)
            execute_process(COMMAND git clone https://example.org/x)
            CPMAddPackage("gh:fmtlib/fmt#10")
            file(DOWNLOAD https://example.org/y y)""",
        )
    )
    assert [(tree.name, tree.archive, tree.sha256) for tree in reading.trees] == [
        ("loose", False, None),
        ("tar", True, "ab"),
    ]
    assert reading.warnings == (
        "CMakeLists.txt:13: execute_process fetches something by itself.",
        "CMakeLists.txt:14: cpmaddpackage fetches in a way that is not read here.",
        "CMakeLists.txt:15: file fetches something by itself.",
        "CMakeLists.txt:10: the tag of demo is not known: v1 or v2.",
        "CMakeLists.txt:11: loose names no tag: it follows whatever https://example.org/loose.git has now.",
    )


def test_nothing_outside_the_project_is_read_and_nothing_loops(tmp_path):
    (tmp_path / "evil.cmake").write_text("FetchContent_Declare(evil GIT_REPOSITORY https://example.org/e GIT_TAG v1)")
    inner = project(
        tmp_path / "p",
        top="include(../evil.cmake)\ninclude(again.cmake)\nfunction(f)\nf()\nendfunction()\nf()\n",
        again="include(again.cmake)\nwhile(ON)\nset(X 1)\nendwhile()",
    )
    assert read_trees(inner).trees == ()
    with pytest.raises(SourceError, match=r"no CMakeLists\.txt"):
        read_trees(tmp_path)
    (inner / "CMakeLists.txt").write_text("not cmake")
    with pytest.raises(SourceError, match="line 1"):
        read_trees(inner)
