"""The known failures: each row finds what it must and leaves what it must; the user's own are read and checked."""

import pytest

from wheelsmith.diagnostics.diagnose import diagnose
from wheelsmith.diagnostics.signature import shipped, signatures
from wheelsmith.errors import UsageError

ROWS = {row.id: row for row in shipped()}
NOISE = "[1/9] Building CUDA object a.o\nptxas info    : Used 32 registers\n-- Could NOT find MPI (missing: x)\n" * 40
EXAMPLES = [(id_, text) for id_, row in ROWS.items() for text in row.positive]
COUNTERS = [(id_, text) for id_, row in ROWS.items() for text in row.negative]

OWN = """\
[[failure]]
id = "license-server"
phase = "build"
patterns = ['''Cannot reach license server (?P<server>\\S+)''']
cause = "the license server {server} is down{ at port @port}"
remedy = "Call IT"
positive = ["error: Cannot reach license server lic1"]
negative = ["-- Cannot reach license server, skipped"]
"""


def test_each_id_is_there_once():
    assert len(ROWS) == len(shipped()) > 100


@pytest.mark.parametrize(("id_", "text"), EXAMPLES)
def test_a_row_explains_its_examples_in_the_noise(id_, text):
    found = diagnose(f"{NOISE}{text}\n")
    assert (found.outcome, found.id) == ("known", id_)
    assert found.line > 120
    assert "{" not in found.cause + found.remedy


@pytest.mark.parametrize(("id_", "text"), COUNTERS)
def test_a_row_leaves_what_is_not_its_own(id_, text):
    assert diagnose(f"{NOISE}{text}\n").id != id_


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("WHEELSMITH_SIGNATURES", str(tmp_path))
    return tmp_path / "own.toml"


def test_the_users_own_are_read_and_come_first(own):
    own.write_text(OWN.replace("@port", "@server"))
    found = diagnose("error: Cannot reach license server lic1\n")
    assert (found.id, found.cause) == ("license-server", "the license server lic1 is down at port lic1")
    assert len(signatures()) == len(ROWS) + 1


def test_a_row_of_the_users_replaces_one_of_the_same_id(own):
    own.write_text(OWN.replace("license-server", "disk-full").replace("{ at port @port}", ""))
    assert diagnose("OSError: [Errno 28] No space left on device\n").id != "disk-full"
    assert len(signatures()) == len(ROWS)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("remedy = ", "advice = ", r"own.toml, \[\[failure\]\] 1 \(license-server\) has the unknown key 'advice'"),
        ('phase = "build"', 'phase = "later"', "needs one of build, run as phase"),
        ("'''Cannot", "'''(Cannot", "no regular expression"),
        ("[[failure]]", "[[failures]]", r"needs \[\[failure\]\] tables"),
        ('id = "license-server"', 'id = "License"', "lower case"),
        ('["error: Cannot reach license server lic1"]', '"error"', "needs a list of texts as 'positive'"),
        ('"Call IT"', '"Call IT."', "without the last full stop"),
        ("{ at port @port}", "{port}", r"uses \{port\}"),
        ("patterns = [", "patterns = ", "no TOML"),
    ],
)
def test_a_wrong_row_is_named_with_what_is_wrong(own, old, new, said):
    own.write_text(OWN.replace("{ at port @port}", "{ at port @port}" if "port" in old else "").replace(old, new))
    with pytest.raises(UsageError, match=said):
        diagnose("x\n")


def test_a_directory_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("WHEELSMITH_SIGNATURES", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="no directory of signatures"):
        signatures()
