"""`wheelsmith index serve`, `token` and `client-config`: the index for others."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from wheelsmith.cli.options import Commands, Parser, add_command, add_group, add_index, natural

if TYPE_CHECKING:
    from wheelsmith import Token
    from wheelsmith.documents.indexes import TokenDocument


def configure(commands: Commands[Parser]) -> None:
    """Add the commands to `wheelsmith index`."""
    _configure_serve(commands)
    _configure_token(commands)
    _configure_client(commands)


def _configure_serve(commands: Commands[Parser]) -> None:
    parser = add_command(commands, "serve", serve, "serve an index over HTTP, and take uploads from twine and uv")
    add_index(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="TCP port, 0 for any free one (default: 8080)")
    parser.add_argument("--private", action="store_true", help="reading needs a token too")
    parser.add_argument("--public-url", metavar="URL", help="address of simple/ as clients know it, behind a proxy")
    parser.add_argument("--upstream", metavar="URL", help="simple index that the names in --allow come from")
    parser.add_argument(
        "--allow", metavar="NAME", nargs="+", default=[], help="names, or patterns with *, that may come from there"
    )
    parser.add_argument(
        "--proxy", action="store_true", help="fetch, check and keep what comes from --upstream, instead of redirecting"
    )
    parser.add_argument(
        "--reserve", metavar="NAME", nargs="+", default=[], help="names that are ours though not published yet"
    )
    parser.add_argument(
        "--max-upload", metavar="MB", type=natural, default=4096, help="largest upload in MiB (default: 4096)"
    )
    parser.add_argument(
        "--max-cache", metavar="GB", type=natural, default=100, help="most to keep of --upstream, in GiB (default: 100)"
    )
    parser.add_argument("--read-only", action="store_true", help="take no uploads, and write nothing to the index")
    parser.add_argument("--workers", metavar="N", type=natural, default=1, help="processes (default: 1)")
    _add_state(parser)


def _add_state(parser: Parser) -> None:
    parser.add_argument(
        "--state",
        metavar="DIR",
        help="directory of tokens, audit log and cache (default: .wheelsmith in a directory index)",
    )


def _configure_token(commands: Commands[Parser]) -> None:
    actions = add_group(commands, "token", "make, list and revoke tokens")
    create = add_command(actions, "create", create_token, "make a token and print it, once")
    create.add_argument("name", help="what the token is for")
    create.add_argument("--read", action="store_true", help="it may read a private index")
    create.add_argument(
        "--publish", metavar="NAME", nargs="+", default=[], help="projects, or patterns with *, that it may publish"
    )
    create.add_argument("--days", type=float, default=90, help="how long it is valid (default: 90)")
    create.add_argument("--no-expiry", action="store_true", help="it is valid until it is revoked")
    listing = add_command(actions, "list", list_tokens, "show all tokens, without their secrets")
    revoke = add_command(actions, "revoke", revoke_token, "end a token now")
    revoke.add_argument("id", help="as `token list` shows it")
    for action in (create, listing, revoke):
        add_index(action)
        _add_state(action)


def _configure_client(commands: Commands[Parser]) -> None:
    parser = add_command(commands, "client-config", client_config, "print the configuration of a client for an index")
    parser.add_argument("client", choices=("pip", "uv", "poetry", "docker"), help="what shall install from it")
    parser.add_argument(
        "--url", default="http://127.0.0.1:8080/simple/", help="address of simple/ (default: %(default)s)"
    )
    parser.add_argument("--project", metavar="NAME", nargs="+", default=[], help="projects that come from it")


def serve(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    import wheelsmith
    from wheelsmith.cli import show

    def ready(url: str) -> None:
        if options.json:
            show.as_json(
                {
                    "schema_version": 1,
                    "index": options.index,
                    "url": url,
                    "simple": f"{url}simple/",
                    "upload": f"{url}upload/",
                }
            )
            sys.stdout.flush()
            return
        print(f"Serving {options.index} at {url} (pip and uv: {url}simple/, uploads: {url}upload/)", flush=True)

    wheelsmith.index_serve(
        index=options.index,
        host=options.host,
        port=options.port,
        private=options.private,
        public_url=options.public_url,
        upstream=options.upstream,
        allow=options.allow,
        proxy=options.proxy,
        reserve=options.reserve,
        max_upload=options.max_upload * 2**20,
        max_cache=options.max_cache * 2**30,
        state=options.state,
        read_only=options.read_only,
        workers=options.workers,
        ready=ready,
    )
    return 0


def create_token(options: argparse.Namespace) -> int:
    """Print the secret on stdout, everything else on stderr."""
    import wheelsmith
    from wheelsmith.cli import show

    token, secret = wheelsmith.index_token_create(
        options.name,
        index=options.index,
        read=options.read,
        publish=options.publish,
        days=None if options.no_expiry else options.days,
        state=options.state,
    )
    if options.json:
        show.as_json({**_row(token), "secret": secret})
        return 0
    expires = "never" if token.expires is None else f"{token.expires:%Y-%m-%d}"
    print(f"Token {token.id}, expires {expires}. It is shown this once:", file=sys.stderr)
    print(secret)
    return 0


def list_tokens(options: argparse.Namespace) -> int:
    """Print a table."""
    import wheelsmith
    from wheelsmith.cli import show

    rows = [_row(token) for token in wheelsmith.index_tokens(index=options.index, state=options.state)]
    if options.json:
        show.as_json({"schema_version": 1, "tokens": [*rows]})
        return 0
    show.table(
        ("id", "name", "read", "publish", "expires", "state"),
        (
            (
                row["id"],
                row["name"],
                "yes" if row["read"] else "no",
                " ".join(row["publish"]) or "-",
                row["expires"] or "never",
                row["state"],
            )
            for row in rows
        ),
    )
    return 0


def revoke_token(options: argparse.Namespace) -> int:
    """End a token."""
    import wheelsmith
    from wheelsmith.cli import show

    token = wheelsmith.index_token_revoke(options.id, index=options.index, state=options.state)
    if options.json:
        show.as_json(_row(token))
    else:
        print(f"Token {token.id} ({token.name}) is revoked.")
    return 0


def client_config(options: argparse.Namespace) -> int:
    """Print the text to paste."""
    import wheelsmith
    from wheelsmith.cli import show

    text = wheelsmith.client_config(options.client, options.url, options.project)
    if options.json:
        show.as_json({"schema_version": 1, "client": options.client, "text": text})
    else:
        print(text, end="")
    return 0


def _row(token: Token) -> TokenDocument:
    from datetime import UTC, datetime

    return {
        "schema_version": 1,
        "id": token.id,
        "name": token.name,
        "read": token.read,
        "publish": list(token.publish),
        "created": token.created.isoformat(timespec="seconds"),
        "expires": None if token.expires is None else token.expires.isoformat(timespec="seconds"),
        "state": token.state(datetime.now(UTC)),
    }
