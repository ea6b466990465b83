"""Node interface: the slice of ComfyUI's V3 `comfy_api.latest.io` that the pack uses, for running without ComfyUI.

Same names, same arguments and the same description of a node as the real one (a test compares them), so that one node
class serves both. Sockets are classes with an ``Input`` and an ``Output``; `Schema` describes a node; `ComfyNode` is
its base class.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .sockets import (  # noqa: F401  (this module is the namespace that nodes know as `io`)
    AnyType,
    Boolean,
    Clip,
    Combo,
    Conditioning,
    Custom,
    Float,
    FolderType,
    Image,
    Input,
    Int,
    Latent,
    LoraModel,
    Mask,
    Model,
    MultiType,
    NumberDisplay,
    Output,
    Sampler,
    Sigmas,
    String,
    UploadType,
    Vae,
    WidgetInput,
)


class Hidden(str, Enum):
    """Names that a node may ask for besides its inputs; they arrive as ``cls.hidden.<name>``."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"


@dataclass
class HiddenHolder:
    """The hidden values of one execution; what was not asked for is None."""

    unique_id: str | None = None
    prompt: dict | None = None
    extra_pnginfo: dict | None = None
    dynprompt: Any = None

    def __getattr__(self, name: str) -> None:
        return None


@dataclass
class Schema:
    """Definition of a node: ids are unique within it, defaults as in ComfyUI."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] | None = None
    outputs: list[Output] | None = None
    hidden: list[Hidden] | None = None
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False

    def validate(self) -> None:
        """Check that no id occurs twice among inputs and outputs together."""
        ids = [socket.id for socket in (self.inputs or []) + (self.outputs or [])]
        doubles = sorted({socket_id for socket_id in ids if ids.count(socket_id) > 1})
        if doubles:
            raise ValueError(
                f"Node {self.node_id}: the ids {doubles} are used more than once among inputs and outputs."
            )

    def finalize(self) -> None:
        """Add what ComfyUI adds: the prompt for output nodes, ids for outputs without one."""
        if self.is_output_node:
            self.hidden = list(self.hidden or [])
            self.hidden += [name for name in (Hidden.prompt, Hidden.extra_pnginfo) if name not in self.hidden]
        for index, output in enumerate(self.outputs or []):
            if output.id is None:
                output.id = f"_{index}_{output.io_type}_"

    def describe(self, python_module: str) -> dict:
        """Return the node as /object_info describes it."""
        inputs: dict[str, dict] = {"required": {}}
        for socket in self.inputs or []:
            options = socket.as_dict()
            options.pop("optional", None)
            group = inputs.setdefault("optional" if socket.optional else "required", {})
            group[socket.id] = (socket.get_io_type(), options)
        for hidden in self.hidden or []:
            inputs.setdefault("hidden", {})[hidden.name] = (hidden.value,)
        outputs = self.outputs or []
        return {
            "input": inputs,
            "input_order": {group: list(sockets) for group, sockets in inputs.items()},
            "output": [output.io_type for output in outputs],
            "output_is_list": [output.is_output_list for output in outputs],
            "output_name": [output.display_name or output.io_type for output in outputs],
            "output_tooltips": [output.tooltip or None for output in outputs],
            "name": self.node_id,
            "display_name": self.display_name,
            "description": self.description,
            "python_module": python_module,
            "category": self.category,
            "output_node": self.is_output_node,
            "deprecated": self.is_deprecated,
            "experimental": self.is_experimental,
            "api_node": self.is_api_node,
        }


@dataclass
class NodeOutput:
    """The output of `ComfyNode.execute`: one value per output, and perhaps something to show."""

    args: tuple = ()
    ui: Any = None
    expand: dict | None = None
    block_execution: str | None = None

    def __init__(self, *args: Any, ui: Any = None, expand: dict | None = None, block_execution: str | None = None):
        self.args, self.ui, self.expand, self.block_execution = args, ui, expand, block_execution

    @property
    def result(self) -> tuple | None:
        return self.args if self.args else None

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class ComfyNode:
    """Base class of every node: override `define_schema` and `execute`, and what else is needed."""

    RELATIVE_PYTHON_MODULE: str | None = None
    hidden: HiddenHolder = HiddenHolder()

    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError

    @classmethod
    def execute(cls, **inputs: Any) -> NodeOutput:
        raise NotImplementedError

    @classmethod
    def validate_inputs(cls, **inputs: Any) -> bool | str:
        """Return True, or a sentence about what is wrong; sees constants only."""
        raise NotImplementedError

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> Any:
        """Return a value that changes when the node must run again; sees constants only."""
        raise NotImplementedError

    @classmethod
    def check_lazy_status(cls, **inputs: Any) -> list[str]:
        """Return the lazy inputs that are needed, given those known so far (the others are None)."""
        return [name for name, value in inputs.items() if value is None]

    @classmethod
    def GET_SCHEMA(cls) -> Schema:  # noqa: N802  (ComfyUI's name)
        schema = cls.define_schema()
        schema.finalize()
        schema.validate()
        return schema

    @classmethod
    def GET_NODE_INFO_V1(cls) -> dict:  # noqa: N802  (ComfyUI's name)
        return copy.deepcopy(cls.GET_SCHEMA().describe(cls.RELATIVE_PYTHON_MODULE))

    @classmethod
    def overrides(cls, name: str) -> bool:
        """Return True when the node defines this optional method itself."""
        return getattr(cls, name).__func__ is not getattr(ComfyNode, name).__func__
