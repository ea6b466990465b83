"""Codes at a node's inputs: their family, their shape and the names that travel with them."""

from __future__ import annotations

from ...editing.common.types import GanLatent
from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ...models.printable import printable, printable_logger

log = printable_logger(__name__)


def check_latent(generator: GanGenerator, latent: GanLatent, name: str = "The latent") -> None:
    """Refuse codes of another shape or family than the generator's; codes without a family pass with a warning.

    Args:
        latent: codes [B, L, D].
        name: of the input, as the sentence begins.

    Raises:
        InputError: another shape or family; the sentence names both.
    """
    generator.check_latent(latent.codes, latent.family, name)
    if not latent.family:
        log.warning("%s names no generator family; its shape fits '%s' and it is used as it is.", name, generator.name)


def picture_names(text: str | None, count: int) -> tuple[str, ...]:
    """Return the names in ``text``, one a line, for ``count`` pictures; without any, "picture 1", "picture 2", ...

    Raises:
        InputError: the number of names is another one.
    """
    names = tuple(printable(line.strip()) for line in (text or "").splitlines() if line.strip())
    if not names:
        return tuple(f"picture {k + 1}" for k in range(count))
    if len(names) != count:
        raise InputError(f"There are {len(names)} names for {count} pictures; connect the names of the same batch.")
    return names
