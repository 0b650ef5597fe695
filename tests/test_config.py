from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelsmith.config import Config, Mirrors, load_config
from wheelsmith.errors import UsageError

MIRRORS = Mirrors(
    (
        ("https://github.com/", ("https://git.example.org/gh/", "https://github.com/")),
        ("https://github.com/NVIDIA/", ("file:///srv/nvidia",)),
        ("https://github.com/NVIDIA/cutlass.git", ("file:///srv/cutlass",)),
        ("https://example.org/simple/", ("https://index.example.org/simple/",)),
    )
)


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("https://github.com/a/b.git", ("https://git.example.org/gh/a/b.git", "https://github.com/a/b.git")),
        ("https://github.com/NVIDIA/x.git", ("file:///srv/nvidia/x.git",)),
        ("https://github.com/NVIDIA/cutlass.git", ("file:///srv/cutlass",)),
        ("https://github.com/NVIDIA/cutlass.git2", ("file:///srv/nvidia/cutlass.git2",)),
        ("https://github.com.evil.example/a", ("https://github.com.evil.example/a",)),
        ("https://example.org/simple", ("https://index.example.org/simple/",)),
        ("https://example.org/simpler", ("https://example.org/simpler",)),
    ],
)
def test_the_longest_prefix_decides_and_ends_at_a_part_of_the_path(url, places):
    assert MIRRORS.of(url) == places


@given(st.text(alphabet="ahtps:/.?#é", max_size=30))
def test_a_url_without_mirror_is_asked_as_it_is(url):
    assert Mirrors((("https://example.org/", ("file:///x",)),)).of(url) == (url,)


def test_places_are_urls_and_paths_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    path = tmp_path / "c.toml"
    path.write_text('[mirrors]\n"https://a.example/" = ["git/a b", "~/m", "/srv/m/", "ssh://git@host/x"]\n')
    assert load_config(path).mirrors.places == (
        (
            "https://a.example/",
            (f"{tmp_path.as_uri()}/git/a%20b", "file:///home/me/m", "file:///srv/m", "ssh://git@host/x"),
        ),
    )


def test_no_file_is_an_empty_configuration_unless_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_config() == Config()
    monkeypatch.setenv("WHEELSMITH_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="no configuration file"):
        load_config()
    (tmp_path / "none.toml").write_text("")
    assert load_config() == Config(origin=tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mirror]", "unknown key 'mirror'"),
        ("mirrors = 1", "is not a table"),
        ("[mirrors", "cannot be read"),
        ('[mirrors]\n"github.com" = "/x"', "is not the beginning of a URL"),
        ('[mirrors]\n"https://h/" = []', "needs one location or a list"),
        ('[mirrors]\n"https://h/" = [1]', "needs one location or a list"),
        ('[mirrors]\n"https://h/" = "ext::sh -c x"', "'ext' is none of"),
        ('[mirrors]\n"https://h/" = "git@host:x"', "write ssh://user@host/path"),
        ('[mirrors]\n"https://h/" = "https://me:hunter2@host/x"', "must not hold credentials"),
        ('[mirrors]\n"https://h/" = "https://hunter2@host/x"', "must not hold credentials"),
        ('[mirrors]\n"https://me:hunter2@h/" = []', "needs one location"),
    ],
)
def test_what_is_wrong_is_said_and_no_password_with_it(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        load_config(path)
    assert str(path) in caught.value.cause
    assert "hunter2" not in f"{caught.value.cause}{caught.value.remedy}{caught.value.detail}"
