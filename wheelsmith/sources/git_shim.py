"""A git for builds that fetches nothing, and the names of what it refused.

In: a directory that a build has first on its PATH; later the build's log. Out: a program `git` there; later the trees
that the build wanted and its closure lacks. Only writing can fail. Everything local (describe, a clone of a plain
path) goes to the real git; what names a URL is refused with a line that says which tree it was. So a gap in the
closure has a name on every machine, with or without network namespaces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from wheelsmith.planning.model import CANONICAL

#: Where the plan's PATH has the program, and its place below the root of a build.
TOOLS = f"{CANONICAL}/tools"

_REFUSAL = re.compile(r"wheelsmith: not in the closure: (\S+) (\S+)")
#: What CMake's file(DOWNLOAD) and ExternalProject, curl and pip say when there is no network.
_DOWNLOADS = (
    re.compile(r"error: downloading '([^']+)' failed"),
    re.compile(r"(?:unable to access|repository) '((?:https?|git|ssh)://[^']+)'"),
)

# dash and bash understand it. Options of git itself that take a value: git(1).
_GIT = r"""#!/bin/sh
# Every source of this build is in its recipe. This git does all that git does, but it fetches nothing.
here=${0%/*}
real=
old_ifs=$IFS
IFS=:
for directory in $PATH; do
  if [ -x "$directory/git" ] && ! [ "$directory/git" -ef "$0" ]; then
    real=$directory/git
    break
  fi
done
IFS=$old_ifs
if [ -z "$real" ]; then
  echo "wheelsmith: git is not installed" >&2
  exit 127
fi

refuse() {  # name, url
  url=$2
  case $url in
    *://*@*) rest=${url#*://} url=${url%%://*}://${rest#*@} ;;
  esac
  echo "fatal: wheelsmith: not in the closure: $1 $url" >&2
  echo "what to do: add it to the recipe as a [[tree]]; wheelsmith recipes lock finds such trees" >&2
  exit 128
}

named() {  # url: its last part, without .git
  name=${1%/}
  name=${name##*/}
  name=${name##*:}
  echo "${name%.git}"
}

remote() {  # whether the word names a place elsewhere: a URL, or host:path
  case $1 in
    -*|*=*://*) return 1 ;;
    *://*) return 0 ;;
    /*|./*|../*) return 1 ;;
    *@*:*) return 0 ;;
  esac
  return 1
}

count=0 skip= command=
for word do
  count=$((count + 1))
  if [ -n "$skip" ]; then skip=; continue; fi
  case $word in
    -C|-c|--git-dir|--work-tree|--namespace|--exec-path|--config-env|--super-prefix|--attr-source) skip=1 ;;
    -*) ;;
    *) command=$word; break ;;
  esac
done

case $command in
  clone|fetch|pull|ls-remote|fetch-pack|submodule|remote)
    position=0 url= last=
    for word do
      position=$((position + 1))
      [ "$position" -gt "$count" ] || continue
      if [ -z "$url" ] && remote "$word"; then url=$word; fi
      last=$word
    done
    if [ -n "$url" ] && [ "$command" != remote ]; then
      name=$(named "$url")
      if [ "$command" = clone ] && [ "$last" != "$url" ]; then
        case $last in -*) ;; *) name=${last%/}; name=${name##*/}; name=${name%-src} ;; esac
      fi
      refuse "$name" "$url"
    fi
    case $command:$last in
      fetch:*|pull:*|remote:update)
        found=$("$real" config --get-regexp '^remote\..*\.url$' 2>/dev/null | while read -r _ url; do
          if remote "$url"; then echo "$url"; break; fi
        done)
        [ -z "$found" ] || refuse "$(named "$found")" "$found"
        ;;
    esac
    if [ "$command" = submodule ] && [ -f .gitmodules ]; then
      case " $* " in
        *" update "*)
          "$real" config -f .gitmodules --get-regexp '^submodule\..*\.path$' | while read -r key path; do
            if [ -z "$(ls -A "$path" 2>/dev/null)" ]; then
              echo "$path $("$real" config -f .gitmodules "${key%.path}.url")"
              break
            fi
          done > "${TMPDIR:-/tmp}/.submodule.$$"
          read -r path url < "${TMPDIR:-/tmp}/.submodule.$$" || path=
          rm -f "${TMPDIR:-/tmp}/.submodule.$$"
          [ -z "$path" ] || refuse "$path" "$url"
          ;;
      esac
    fi
    ;;
esac
exec "$real" "$@"
"""


@dataclass(frozen=True, slots=True)
class Refused:
    """A tree that a build wanted to fetch: its name as far as it is known, and its URL."""

    name: str
    url: str

    def __str__(self) -> str:
        return f"{self.name} ({self.url})"


def place_guard(directory: Path) -> None:
    """Write the program as `directory/git`; the directory is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "git"
    program.write_text(_GIT, "utf-8")
    program.chmod(0o755)


def refused(log: str) -> tuple[Refused, ...]:
    """What the log of a build says that it wanted to fetch, each once."""
    found = [Refused(name, url) for name, url in _REFUSAL.findall(log)]
    for pattern in _DOWNLOADS:
        found += [Refused(url.rstrip("/").rpartition("/")[2].removesuffix(".git"), url) for url in pattern.findall(log)]
    urls = {item.url: item for item in reversed(found)}
    return tuple(item for item in dict.fromkeys(found) if urls[item.url] == item)
