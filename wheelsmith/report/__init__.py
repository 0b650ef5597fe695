"""Pages that a person looks at: self-contained HTML, made from the values of other rooms. Nothing fails."""

from wheelsmith.report.wheel_page import wheel_page

__all__ = ["wheel_page"]
