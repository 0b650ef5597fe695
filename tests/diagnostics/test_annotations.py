"""The real error where a CI shows it."""

import json

import pytest

import wheelsmith
from wheelsmith.cli.main import main

LOG = """\
[1/1] Building CXX object a.o
FAILED: [code=1] a.o
/usr/bin/g++ -DX='<a,b>' -c /build/csrc/a.cpp -o a.o
/build/csrc/a.cpp:3:10: fatal error: nccl.h: No such file or directory
    3 | #include <nccl.h>
ninja: build stopped: subcommand failed.
"""


def test_github_gets_a_workflow_command_with_the_place():
    text = wheelsmith.annotation(wheelsmith.explain(LOG), "github")
    head, _, message = text.rstrip("\n").partition("::")[2].partition("::")
    assert head == "error file=csrc/a.cpp,line=3,col=10,title=wheelsmith%3A nccl-missing"
    assert message.startswith("/build/csrc/a.cpp:3:10: fatal error: nccl.h: No such file or directory%0ANCCL")
    assert text.count("\n") == 1


def test_gitlab_gets_a_code_quality_report():
    text = wheelsmith.annotation(wheelsmith.explain(LOG), "gitlab")
    (issue,) = json.loads(text)
    assert issue["location"] == {"path": "csrc/a.cpp", "lines": {"begin": 3}}
    assert (issue["check_name"], issue["severity"]) == ("wheelsmith/nccl-missing", "blocker")
    assert (
        issue["fingerprint"] == json.loads(wheelsmith.annotation(wheelsmith.explain(LOG), "gitlab"))[0]["fingerprint"]
    )


@pytest.mark.parametrize(("ci", "text"), [("github", ""), ("gitlab", "[]\n")])
def test_a_healthy_log_annotates_nothing(ci, text):
    assert wheelsmith.annotation(wheelsmith.explain("all is\nwell\n"), ci) == text


def test_the_command_line_prints_it(tmp_path, capsys):
    (tmp_path / "log").write_text(LOG)
    assert main(["explain", str(tmp_path / "log"), "--annotate", "github"]) == 0
    assert capsys.readouterr().out.startswith("::error file=csrc/a.cpp,line=3")
