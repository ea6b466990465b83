"""The pages of benchmarks/results/: one for each script, with what the script printed and what a person says of it.

A page has a title, what is measured and against which bar, then a block between two marks, which `write_page` replaces
whenever the script is run with ``--write`` (or the suite with ``--pages``); everything else on the page stays.
"""

from __future__ import annotations

from pathlib import Path

PAGES = Path(__file__).with_name("results")
BEGIN, END = "<!-- printed by the script -->", "<!-- until here -->"


def write_page(script: str, printed: str, command: str = "", facts: str = "", folder: Path = PAGES) -> Path:
    """Put what a script printed on its page.

    Args:
        script: the script's name without ending; the page has the same.
        printed: its tables, as Markdown.
        command: how it was called.
        facts: the machine and the versions, one line.

    Returns:
        The page. One that was not there begins with the script's name as its title.

    Raises:
        ValueError: the page has a mark without its twin.
    """
    path = folder / f"{script}.md"
    page = path.read_text(encoding="utf-8") if path.exists() else f"# {script}\n\n{BEGIN}\n{END}\n"
    if BEGIN not in page and END not in page:
        title, _, body = page.partition("\n")
        page = f"{title}\n\n{BEGIN}\n{END}\n{body}"
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"{path.name} needs one {BEGIN!r} and one {END!r} behind it.")
    block = [f"`{command}`" if command else "", printed.strip(), facts]
    head, tail = page[: page.index(BEGIN)], page[page.index(END) :]
    text = "\n\n".join(part for part in block if part)
    path.write_text(f"{head}{BEGIN}\n\n{text}\n\n{tail}", encoding="utf-8")
    return path
