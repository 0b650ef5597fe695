"""How recipes stand to their upstream, as a page.

In: a `RecipesStatusDocument`. Out: HTML, whole, with nothing fetched from elsewhere. Pure; nothing can fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wheelsmith.report.html import Html, join, page, table, tag

if TYPE_CHECKING:
    from wheelsmith.documents.recipes import RecipesStatusDocument, RecipeStatusFacts


def recipes_page(document: RecipesStatusDocument) -> str:
    """The page."""
    rows = [_row(item) for item in document["recipes"]]
    columns = ("recipe", "pinned", "newest", "behind", "rehearsed", "what blocks")
    body = join(
        (
            tag("h1", "Recipes and their upstream"),
            tag("p", f"As of {document['at']}."),
            table("Each recipe against the newest version of its package", columns, rows, numbers=(3,)),
        )
    )
    return page("Recipes and their upstream", body)


def _row(item: RecipeStatusFacts) -> tuple[str, ...]:
    rehearsed = f"{item['rehearsed']} at {item['rehearsed_at']}: {item['rehearsal']}" if item["rehearsed"] else "never"
    newest = item["newest"] or f"not known: {item['problem']}"
    blocks = tag("ul", *(tag("li", text) for text in item["blocks"])) if item["blocks"] else Html("nothing known")
    return item["name"], item["pinned"], newest, str(len(item["behind"])), rehearsed, blocks
