"""Words that a corpus may hold and that nothing may take for anything but words."""

from __future__ import annotations

IN_CORPORA = (
    "<script>alert(1)</script>",
    "<b>bold</b>",
    "a&lt;b",
    "$x$ and $y$",
    '"quoted",;=1+1',
    "line\nend",
    "bell\x07null\x00",
    "\u202ereversed",
    "אבג",
    "w" * 3_000,
    "",
    "日本語",
    "%{x}",
    "tab\tbell\x07null\x00",
    "👩\u200d🚀",
    "javascript:alert(1)",
    "[U+202E]",
    "e\u0301\u0301",
    " ",
)
"""Markup, formulas, control characters, other scripts, and words that are empty or very long."""

IN_PAGES = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "javascript:alert(1)",
    "$\\alpha$",
    "&lt;",
    "a\u202eb\u2066c",
    "w" * 1_000,
    '"onmouseover="hacked=1',
    "</script><script>hacked=1</script>",
    "__proto__",
    "<svg/onload=hacked=1>",
    "<!--",
    "]]>",
    "&lt;b&gt;&amp;",
    "${window.hacked=1}",
    "<a href=javascript:hacked=1>x</a>",
    "constructor",
)
"""Words that set `window.hacked` if a browser runs them, look like something else, or take a page with them."""

IN_TABLES = (
    *(
        "a,b",
        'say "hi"',
        "two\nlines",
        "\r",
        "\r\n",
        " ",
        "",
        "null",
        "NA",
        "1984",
        "=1+1",
        "'",
        "\t",
        "日本",
        "\0",
    ),
)
"""Words that a CSV file, or a spreadsheet, may split, drop, convert or compute."""

IN_MARKDOWN = (
    "<script>alert(1)</script>",
    "<b>bold</b> & &lt;",
    "[link](javascript:alert(1))",
    "*a* _b_ `c` ~~d~~ | e",
    "# head",
    "line\nend\x00",
    "",
    "אבג",
)
"""Words that Markdown or HTML turns into something else, and words of which little is seen."""
