"""Text from files, fit for a terminal and for one line."""


def printable(text: str) -> str:
    """`text` with every line break and control character as a question mark.

    Names inside a foreign file may hold anything, escape sequences that rewrite the terminal included.
    """
    return "".join(c if c.isprintable() else "?" for c in text)
