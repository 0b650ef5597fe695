"""`wheelsmith verify`: is this wheel whole, and the one that its provenance speaks of?"""

from __future__ import annotations

import argparse

from wheelsmith.cli.options import Commands, Parser, add_command

_EPILOG = """\
Without --key this shows that nothing was damaged; only a signature shows who built it. Keys are Ed25519, made with:
  openssl genpkey -algorithm ed25519 -out wheelsmith.key         keep it; wheelsmith build --sign wheelsmith.key
  openssl pkey -in wheelsmith.key -pubout -out wheelsmith.pub    give it away; wheelsmith verify --key wheelsmith.pub
"""


def configure(commands: Commands[Parser]) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "verify",
        execute,
        "check a wheel's hashes, SBOM, provenance and signature",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_origin(parser)


def add_origin(parser: Parser) -> None:
    """The wheel, its provenance and the signer's key."""
    parser.add_argument("wheel", help="its file")
    parser.add_argument("--provenance", metavar="FILE", help="default: WHEEL.provenance.json")
    parser.add_argument("--key", metavar="PUB", help="public key (PEM) that must have signed the provenance")


def execute(options: argparse.Namespace) -> int:
    """Run the command."""
    import wheelsmith
    from wheelsmith.cli import show

    result = wheelsmith.verify(options.wheel, provenance=options.provenance, key=options.key)
    if options.json:
        show.as_json(result.to_dict())
        return 0
    show.facts(
        [
            ("wheel", f"{result.wheel.name}: what its provenance says"),
            ("sha256", result.sha256),
            ("is", f"{result.requirement}, built {result.finished}, plan {result.plan_digest}"),
            ("members", f"{result.members}, each as RECORD says"),
            ("SBOM", f"lists {result.components} components"),
            (
                "signature",
                f"by {result.signed_by}" if result.signed_by else "not asked for: give --key to know who built",
            ),
        ]
    )
    return 0
