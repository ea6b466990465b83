"""Sanitising of text from files, so that it fits a terminal and one line."""


def printable(text: str) -> str:
    """Replace every line break and control character by a question mark.

    Names inside a foreign file may hold anything, escape sequences that rewrite the terminal included.
    """
    return "".join(c if c.isprintable() else "?" for c in text)
