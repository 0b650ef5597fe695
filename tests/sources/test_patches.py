from __future__ import annotations

import difflib
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.source_servers import files_of
from wheelsmith.errors import PatchError
from wheelsmith.planning.model import DiffPatch, EditPatch
from wheelsmith.sources.patches import apply

OLD = b"one\ntwo\nthree\nfour\nfive\n"
DIFF = "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n"


def diff(text: str) -> DiffPatch:
    return DiffPatch("/x", "p.diff", text, "why")


def edit(find: str, replace: str, count: int = 1, file: str = "f") -> EditPatch:
    return EditPatch("/x", file, find, replace, count, "why")


def unified(old: str, new: str) -> str:
    """What `diff -u` prints; difflib leaves the marker for a missing last newline to us."""
    sides = [text.split("\n") for text in (old, new)]
    a, b = ([f"{x}\n" for x in side[:-1]] + ([side[-1]] if side[-1] else []) for side in sides)
    lines = difflib.unified_diff(a, b, "a/f", "b/f")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


texts = st.lists(st.sampled_from(["a", "b", "", "\r", "-- x", "+y", " z", "\x0c", "é\udce9", "\\ n"]), max_size=12).map(
    "\n".join
)


@given(old=texts, new=texts)
def test_a_diff_makes_the_new_file_of_the_old_one(old: str, new: str) -> None:
    assume(old != new)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "f")
        file.write_bytes(old.encode("utf-8", "surrogateescape"))
        apply(diff(unified(old, new)), Path(name))
        assert file.read_bytes() == new.encode("utf-8", "surrogateescape")


@given(at=st.integers(0, 2), end=st.sampled_from(["!", " ", "\r", "\t"]))
def test_one_changed_context_line_is_an_error(at: int, end: str) -> None:
    lines = DIFF.splitlines()
    context = [index for index, line in enumerate(lines) if index > 2 and line[0] in " -"]
    lines[context[at]] += end
    with tempfile.TemporaryDirectory() as name:
        Path(name, "f").write_bytes(OLD)
        with pytest.raises(PatchError):
            apply(diff("\n".join(lines) + "\n"), Path(name))
        assert Path(name, "f").read_bytes() == OLD


def test_a_mismatch_shows_patch_file_hunk_line_and_both_texts(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"new\none\ntwo\r\nthree\n")
    with pytest.raises(PatchError) as caught:
        apply(diff(DIFF), tmp_path)
    assert caught.value.cause == "The patch p.diff does not match f: hunk 1 (@@ -1,3 +1,3 @@) fails at line 3."
    assert "expects 'two\\n'" in caught.value.detail
    assert "has      'two\\r\\n'" in caught.value.detail


def test_a_hunk_may_have_moved_if_its_place_is_unambiguous(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"zero\n" + OLD)
    apply(diff(DIFF), tmp_path)
    assert (tmp_path / "f").read_bytes() == b"zero\none\nTWO\nthree\nfour\nfive\n"


def test_a_moved_hunk_that_fits_twice_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"zero\n" + OLD + OLD)
    with pytest.raises(PatchError, match="fits f in 2 places") as caught:
        apply(diff(DIFF), tmp_path)
    assert caught.value.detail == "f:2\nf:7"


def test_create_delete_rename_and_modes(tmp_path: Path) -> None:
    (tmp_path / "gone").write_bytes(b"x\n")
    (tmp_path / "old").write_bytes(OLD)
    (tmp_path / "old").chmod(0o755)
    text = (
        "diff --git a/new/script b/new/script\nnew file mode 100755\n"
        "--- /dev/null\n+++ b/new/script\n@@ -0,0 +1 @@\n+hi\n"
        "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        "diff --git a/old b/moved\nsimilarity index 80%\nrename from old\nrename to moved\n"
        "--- a/old\n+++ b/moved\n@@ -1,2 +1,2 @@\n-one\n+ONE\n two\n"
    )
    apply(diff(text), tmp_path)
    assert files_of(tmp_path) == {"moved": OLD.replace(b"one", b"ONE"), "new/script": b"hi\n"}
    assert (tmp_path / "new/script").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "moved").stat().st_mode & 0o777 == 0o755


def test_nothing_is_written_when_a_later_file_does_not_match(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(OLD)
    (tmp_path / "g").write_bytes(b"other\n")
    with pytest.raises(PatchError, match="does not match g"):
        apply(diff(DIFF + DIFF.replace("/f", "/g")), tmp_path)
    assert files_of(tmp_path) == {"f": OLD, "g": b"other\n"}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "changes nothing"),
        ("hello\n", "changes nothing"),
        (DIFF.replace(" three\n", ""), "not a unified diff"),
        (DIFF + "+extra\n", "longer than its header says"),
        (DIFF.replace("/f", "/../f"), "must not touch"),
        (DIFF.replace("a/f", "/etc/f").replace("b/f", "/etc/f"), "must not touch"),
        (DIFF.replace("/f", "/link/f"), "symbolic link 'link'"),
        (DIFF.replace("/f", "/absent"), "not a file of the source"),
        (DIFF.replace("b/f", "b/g"), "two files"),
        ("--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n", "there already"),
        ("--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n", "holds more"),
        ("--- a/f\n+++ b/f\n@@ -2,0 +3 @@\n+x\n", "without context"),
        ("diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc\n", "symbolic link"),
        ("diff --git a/f b/f\nBinary files a/f and b/f differ\n", "binary"),
    ],
)
def test_what_is_not_an_exact_patch_is_refused(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / "f").write_bytes(OLD)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PatchError, match=cause):
        apply(diff(text), tmp_path)
    assert (tmp_path / "f").read_bytes() == OLD


def test_an_edit_replaces_exactly_count_matches_and_keeps_all_other_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff a\r\nb a")
    apply(edit("a", "AA", 2), tmp_path)
    assert (tmp_path / "f").read_bytes() == b"\xff AA\r\nb AA"


def test_an_edit_with_another_count_names_the_lines(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x\nx\ny\n")
    with pytest.raises(PatchError, match="expects 'x' once, but it is there 2 times") as caught:
        apply(edit("x", "z"), tmp_path)
    assert caught.value.detail == "found at:\nf:1\nf:2"


def test_an_edit_that_matches_nothing_shows_similar_lines(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_bytes(b"import os\n    flags = ['--threads', '8']\n")
    with pytest.raises(PatchError, match="not at all") as caught:
        apply(edit("flags = ['--threads', '4']", "", file="setup.py"), tmp_path)
    assert caught.value.detail == "most similar:\nsetup.py:2: flags = ['--threads', '8']"


def test_an_edit_says_when_only_the_line_ends_differ(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a\r\nb\r\n")
    with pytest.raises(PatchError) as caught:
        apply(edit("a\nb", "c"), tmp_path)
    assert caught.value.detail.startswith("The lines of the file end in CR LF")


def test_an_edit_leaves_hard_links_alone(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "g").hardlink_to(tmp_path / "f")
    apply(edit("x", "y"), tmp_path)
    assert files_of(tmp_path) == {"f": b"y", "g": b"x"}


@pytest.mark.parametrize("file", ["../f", "/etc/hosts", "link", "absent"])
def test_an_edit_stays_in_its_tree(tmp_path: Path, file: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "f").write_bytes(b"x")
    (root / "link").symlink_to(tmp_path / "f")
    with pytest.raises(PatchError, match="cannot be made"):
        apply(edit("x", "y", file=file), root)
