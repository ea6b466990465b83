"""Socket types of the node interface: their names on a wire, and the widget that an input shows."""

from __future__ import annotations

import copy
from enum import Enum
from typing import Any


class FolderType(str, Enum):
    """The folders that pictures come from and go to."""

    input = "input"
    output = "output"
    temp = "temp"


class UploadType(str, Enum):
    """Kinds of files that a combo's upload button takes."""

    image = "image_upload"
    audio = "audio_upload"
    video = "video_upload"
    model = "file_upload"


class NumberDisplay(str, Enum):
    """Widgets of a number."""

    number = "number"
    slider = "slider"


def without_none(**options: Any) -> dict:
    """Return the options that are not None: ComfyUI leaves the others out of a node's description."""
    return {name: value for name, value in options.items() if value is not None}


class Input:
    """An input without a widget: it needs a wire."""

    io_type: str = "*"

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        extra_dict: dict | None = None,
    ):
        self.id, self.display_name, self.optional = id, display_name, optional
        self.tooltip, self.lazy, self.extra_dict = tooltip, lazy, extra_dict or {}

    def as_dict(self) -> dict:
        options = without_none(
            display_name=self.display_name, optional=self.optional, tooltip=self.tooltip, lazy=self.lazy
        )
        return options | without_none(**self.extra_dict)

    def get_io_type(self) -> Any:
        return self.io_type


class WidgetInput(Input):
    """An input with a widget, whose value is written into the workflow."""

    def __init__(
        self,
        id: str,
        display_name: str | None = None,
        optional: bool = False,
        tooltip: str | None = None,
        lazy: bool | None = None,
        default: Any = None,
        socketless: bool | None = None,
        widget_type: str | None = None,
        force_input: bool | None = None,
        extra_dict: dict | None = None,
    ):
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict)
        self.default, self.socketless = default, socketless
        self.widget_type, self.force_input = widget_type, force_input

    def as_dict(self) -> dict:
        return super().as_dict() | without_none(
            default=self.default, socketless=self.socketless, widgetType=self.widget_type, forceInput=self.force_input
        )

    def get_io_type(self) -> Any:
        return self.widget_type or self.io_type


class Output:
    """One value that a node returns."""

    io_type: Any = "*"

    def __init__(
        self,
        id: str | None = None,
        display_name: str | None = None,
        tooltip: str | None = None,
        is_output_list: bool = False,
    ):
        self.id, self.display_name, self.tooltip, self.is_output_list = id, display_name, tooltip, is_output_list


def Custom(io_type: str) -> type:  # noqa: N802  (ComfyUI's name)
    """Return a socket class of its own type, with ``Input`` and ``Output``."""
    name = io_type.title().replace("_", "")
    sockets = {base.__name__: type(base.__name__, (base,), {"io_type": io_type}) for base in (Input, Output)}
    return type(name, (), {"io_type": io_type, **sockets})


Image = Custom("IMAGE")
Mask = Custom("MASK")
Latent = Custom("LATENT")
Conditioning = Custom("CONDITIONING")
Model = Custom("MODEL")
Vae = Custom("VAE")
Clip = Custom("CLIP")
Sampler = Custom("SAMPLER")
Sigmas = Custom("SIGMAS")
LoraModel = Custom("LORA_MODEL")
AnyType = Custom("*")


class Boolean(Custom("BOOLEAN")):
    """True or False."""

    class Input(WidgetInput):
        io_type = "BOOLEAN"

        def __init__(
            self, id, display_name=None, optional=False, tooltip=None, lazy=None, default: bool | None = None,
            label_on: str | None = None, label_off: str | None = None, socketless=None, force_input=None,
        ):  # fmt: skip
            super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input)
            self.label_on, self.label_off = label_on, label_off

        def as_dict(self) -> dict:
            return super().as_dict() | without_none(label_on=self.label_on, label_off=self.label_off)


class Int(Custom("INT")):
    """A whole number; `control_after_generate` adds the seed's second widget."""

    class Input(WidgetInput):
        io_type = "INT"

        def __init__(
            self, id, display_name=None, optional=False, tooltip=None, lazy=None, default: int | None = None,
            min: int | None = None, max: int | None = None, step: int | None = None,
            control_after_generate: bool | None = None, display_mode: NumberDisplay | None = None,
            socketless=None, force_input=None,
        ):  # fmt: skip
            super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input)
            self.min, self.max, self.step = min, max, step
            self.control_after_generate, self.display_mode = control_after_generate, display_mode

        def as_dict(self) -> dict:
            return super().as_dict() | without_none(
                min=self.min,
                max=self.max,
                step=self.step,
                control_after_generate=self.control_after_generate,
                display=self.display_mode.value if self.display_mode else None,
            )


class Float(Custom("FLOAT")):
    """A number."""

    class Input(WidgetInput):
        io_type = "FLOAT"

        def __init__(
            self, id, display_name=None, optional=False, tooltip=None, lazy=None, default: float | None = None,
            min: float | None = None, max: float | None = None, step: float | None = None, round: float | None = None,
            display_mode: NumberDisplay | None = None, socketless=None, force_input=None,
        ):  # fmt: skip
            super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input)
            self.min, self.max, self.step, self.round = min, max, step, round
            self.display_mode = display_mode

        def as_dict(self) -> dict:
            return super().as_dict() | without_none(
                min=self.min, max=self.max, step=self.step, round=self.round, display=self.display_mode
            )


class String(Custom("STRING")):
    """Text."""

    class Input(WidgetInput):
        io_type = "STRING"

        def __init__(
            self, id, display_name=None, optional=False, tooltip=None, lazy=None, multiline: bool = False,
            placeholder: str | None = None, default: str | None = None, dynamic_prompts: bool | None = None,
            socketless=None, force_input=None,
        ):  # fmt: skip
            super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, force_input)
            self.multiline, self.placeholder, self.dynamic_prompts = multiline, placeholder, dynamic_prompts

        def as_dict(self) -> dict:
            return super().as_dict() | without_none(
                multiline=self.multiline, placeholder=self.placeholder, dynamicPrompts=self.dynamic_prompts
            )


class Combo(Custom("COMBO")):
    """One choice from a list."""

    class Input(WidgetInput):
        io_type = "COMBO"

        def __init__(
            self, id, options: list | type[Enum] | None = None, display_name=None, optional=False, tooltip=None,
            lazy=None, default: Any = None, control_after_generate: bool | None = None,
            upload: UploadType | None = None, image_folder: FolderType | None = None, remote: Any = None,
            socketless=None,
        ):  # fmt: skip
            if isinstance(options, type) and issubclass(options, Enum):
                options = [choice.value for choice in options]
            default = default.value if isinstance(default, Enum) else default
            super().__init__(id, display_name, optional, tooltip, lazy, default, socketless)
            self.options, self.control_after_generate = options, control_after_generate
            self.upload, self.image_folder = upload, image_folder
            if remote is not None:
                raise NotImplementedError(f"Input {id}: lists from a remote source are not offered without ComfyUI.")

        def as_dict(self) -> dict:
            return super().as_dict() | without_none(
                multiselect=False,
                options=self.options,
                control_after_generate=self.control_after_generate,
                image_folder=self.image_folder.value if self.image_folder else None,
                **({self.upload.value: True} if self.upload else {}),
            )

    class Output(Output):
        def __init__(self, id=None, display_name=None, options: list | None = None, tooltip=None, is_output_list=False):
            super().__init__(id, display_name, tooltip, is_output_list)
            self.io_type = options or []


class MultiType:
    """An input that takes several types; given a widget input as its id, it keeps that input's widget."""

    class Input(Input):
        io_type = "COMFY_MULTITYPED_V3"

        def __init__(
            self, id: str | Input, types: list[type], display_name=None, optional=False, tooltip=None, lazy=None,
            extra_dict=None,
        ):  # fmt: skip
            self.widget = None
            if isinstance(id, Input):
                self.widget = copy.copy(id)
                if isinstance(id, WidgetInput):
                    self.widget.widget_type = id.get_io_type()
                optional = id.optional or optional
                tooltip = tooltip if id.tooltip is None else id.tooltip
                display_name = display_name if id.display_name is None else id.display_name
                lazy = lazy if id.lazy is None else id.lazy
                id = id.id
            super().__init__(id, display_name, optional, tooltip, lazy, extra_dict)
            self.types = types

        def get_io_type(self) -> str:
            first = [self.widget.get_io_type()] if self.widget else []
            return ",".join(dict.fromkeys(first + [socket.io_type for socket in self.types]))

        def as_dict(self) -> dict:
            return (self.widget.as_dict() if self.widget else {}) | super().as_dict()
