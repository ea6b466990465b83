"""Load Demo Photos: something to edit on a fresh machine."""

from __future__ import annotations

from ...demo.assets import PHOTOS
from ...demo.portraits.photos import find_photo, load_photos, photo_parts
from ...demo.portraits.scene import PART_NAMES
from ...demo.readers import resize
from ...editing.common.part_labels import PartLabels
from ...host import current, io
from ...models.errors import InputError
from ...models.gan.generator import GanGenerator
from ..common.images import to_image_batch
from ..common.schema import menu_category, search_aliases
from ..common.sockets import GanGeneratorType, PartLabelsType

_ALL = "all"
_NAMES = tuple(sorted(path.stem for path in PHOTOS.glob("*.png")))


class LoadDemoPhotos(io.ComfyNode):
    """The shipped portraits, with details that the demo generator has never seen."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SemanticEditLoadDemoPhotos",
            display_name="Load Demo Photos",
            category=menu_category("demo"),
            description="Loads the painted portraits that come with the pack, with moles, patterns and letters that "
            "the demo generator does not know.",
            **search_aliases("sample photos", "example faces", "try it"),
            inputs=[
                io.Combo.Input("photo", options=[_ALL, *_NAMES], tooltip="One photo by its name, or all of them."),
                io.Int.Input("first", default=0, min=0, max=1000, tooltip="With 'all': how many to leave out."),
                io.Int.Input("limit", default=0, min=0, max=1000, tooltip="With 'all': the most to load; 0 loads all."),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=2048,
                    tooltip="Width and height in pixels. 0: the generator's size, or 256 without a generator.",
                ),
                GanGeneratorType.Input(
                    "generator", optional=True, tooltip="The photos get this generator's size where size is 0."
                ),
            ],
            outputs=[
                io.Image.Output("images", "images", tooltip="The photos as one batch."),
                io.String.Output("names", "names", tooltip="Their names, one a line, in the order of the batch."),
                PartLabelsType.Output("parts", "parts", tooltip="Where hair, eyes, mouth and so on are, exactly."),
            ],
        )

    @classmethod
    def execute(
        cls, photo: str, first: int, limit: int, size: int, generator: GanGenerator | None = None
    ) -> io.NodeOutput:
        names = _names(photo, first, limit)
        known, pictures = load_photos(PHOTOS)
        pictures = pictures[[known.index(name) for name in names]]
        pixels = _size(size, generator) or pictures.shape[-1]
        masks = photo_parts([find_photo(name) for name in names], pixels).to(current().result_device())
        return io.NodeOutput(to_image_batch(resize(pictures, pixels)), "\n".join(names), PartLabels(masks, PART_NAMES))


def _size(size: int, generator: GanGenerator) -> int:
    """Return width and height in pixels, 0 for the photos' own."""
    if size:
        if size < 16:
            raise InputError(f"The size is {size}; expected at least 16 pixels, or 0.")
        return size
    if generator is None:
        return 0
    height, width = generator.resolution
    if height != width:
        raise InputError(
            f"The demo photos are square, '{generator.name}' draws {width} x {height}; set a size instead."
        )
    return height


def _names(photo: str, first: int, limit: int) -> tuple[str, ...]:
    """Return the names of the photos to load."""
    if photo != _ALL:
        if photo not in _NAMES:
            raise InputError(f"There is no demo photo '{photo}'; expected {_ALL}, {', '.join(_NAMES)}.")
        return (photo,)
    names = _NAMES[first:][: limit or None]
    if not names:
        raise InputError(f"first is {first}, which leaves no photo: there are {len(_NAMES)}.")
    return names
