"""Small real nodes and a builder of UI-format files, for testing what runs them. Loaded by conftest.py."""

from __future__ import annotations

import math

import torch
from semantic_edit import host
from semantic_edit.headless.comfy_api import io
from semantic_edit.models.errors import InputError


def _schema(node_id, inputs, outputs=(), **more):
    return io.Schema(node_id=node_id, category="toys", inputs=list(inputs), outputs=list(outputs), **more)


class ToyNoise(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        seed = io.Int.Input("seed", default=0, min=0, max=2**64 - 1, control_after_generate=True)
        size = io.Int.Input("size", default=8, min=1, max=64)
        return _schema("ToyNoise", [seed, size], [io.Image.Output()])

    @classmethod
    def execute(cls, seed, size):
        generator = torch.Generator().manual_seed(seed)
        return io.NodeOutput(torch.rand(1, size, size, 3, generator=generator))


class ToyScale(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        modes = io.Combo.Input("mode", options=["multiply", "divide"], default="multiply")
        by = io.Float.Input("by", default=1.0, min=0.0, max=4.0)
        return _schema("ToyScale", [io.Image.Input("image"), by, modes], [io.Image.Output()])

    @classmethod
    def execute(cls, image, by, mode):
        return io.NodeOutput(image * by if mode == "multiply" else image / by)


class ToyNumbers(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return _schema(
            "ToyNumbers", [io.Int.Input("count", default=3, min=0, max=1000)], [io.Int.Output(is_output_list=True)]
        )

    @classmethod
    def execute(cls, count):
        return io.NodeOutput(list(range(count)))


class ToyAdd(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return _schema("ToyAdd", [io.Int.Input("a", default=0), io.Int.Input("b", default=0)], [io.Int.Output()])

    @classmethod
    def execute(cls, a, b):
        return io.NodeOutput(a + b)


class ToyJoin(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        parts = io.MultiType.Input("parts", [io.Int, io.String])
        glue = io.String.Input("glue", default="+")
        return _schema("ToyJoin", [parts, glue], [io.String.Output()], is_input_list=True)

    @classmethod
    def execute(cls, parts, glue):
        return io.NodeOutput(glue[0].join(str(text) for text in parts))


class ToyShow(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return _schema("ToyShow", [io.AnyType.Input("value")], [], is_output_node=True)

    @classmethod
    def execute(cls, value):
        return io.NodeOutput(ui={"text": (str(value),)})


class ToyFail(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        kinds = io.Combo.Input("kind", options=["input", "bug", "attribute"])
        return _schema("ToyFail", [io.Int.Input("a", default=0), kinds], [io.Int.Output()])

    @classmethod
    def execute(cls, a, kind):
        if kind == "attribute":
            cls.remembered = a
        raise InputError("the number is odd, give an even one.") if kind == "input" else ZeroDivisionError("by\nzero")


class ToySwitch(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        lazy = [io.Int.Input(name, default=0, lazy=True) for name in ("on_true", "on_false")]
        return _schema("ToySwitch", [io.Boolean.Input("choose", default=True), *lazy], [io.Int.Output()])

    @classmethod
    def check_lazy_status(cls, choose, on_true=None, on_false=None):
        return ["on_true" if choose else "on_false"]

    @classmethod
    def execute(cls, choose, on_true, on_false):
        return io.NodeOutput(on_true if choose else on_false)


class ToyGate(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return _schema("ToyGate", [io.Int.Input("a"), io.String.Input("reason", default="")], [io.Int.Output()])

    @classmethod
    def execute(cls, a, reason):
        return io.NodeOutput(block_execution=reason)


class ToyAlways(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return _schema("ToyAlways", [io.Int.Input("a", default=0)], [io.Int.Output()])

    @classmethod
    def fingerprint_inputs(cls, a):
        return math.nan

    @classmethod
    def execute(cls, a):
        return io.NodeOutput(a)


class ToyEven(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        inputs = [io.Int.Input("a", default=0, max=10), io.Int.Input("b", default=0, max=10)]
        return _schema("ToyEven", inputs, [io.Int.Output()])

    @classmethod
    def validate_inputs(cls, a):
        return True if a is None or a % 2 == 0 else f"the input 'a' must be even, not {a}."

    @classmethod
    def execute(cls, a, b):
        return io.NodeOutput(a)


class ToySteps(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return _schema("ToySteps", [io.Int.Input("steps", default=5)], [io.Int.Output()])

    @classmethod
    def execute(cls, steps):
        report = host.current().progress(steps, "stepping")
        for step in range(steps):
            report(step + 1, steps, torch.rand(3, 4, 4))
        return io.NodeOutput(steps)


class ToyMode(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return _schema("ToyMode", [], [io.Boolean.Output(), io.String.Output()], hidden=[io.Hidden.unique_id])

    @classmethod
    def execute(cls):
        return io.NodeOutput(torch.is_inference_mode_enabled(), cls.hidden.unique_id)


TOYS = {
    cls.__name__: cls for cls in list(globals().values()) if isinstance(cls, type) and issubclass(cls, io.ComfyNode)
}


class Sheet:
    """Builds a UI-format workflow: ``node`` adds a node and returns its id, ``wire`` connects two."""

    def __init__(self):
        self.nodes, self.links, self.definitions, self.count = [], [], [], 0

    def node(self, kind, values=None, inputs=(), outputs=("*",), **more):
        """inputs: (name, type) or (name, type, "widget"); outputs: types."""
        self.count += 1
        sockets = [
            {"name": i[0], "type": i[1], "link": None, **({"widget": {"name": i[0]}} if len(i) > 2 else {})}
            for i in inputs
        ]
        node = {"id": self.count, "type": kind, "mode": 0, "inputs": sockets, "widgets_values": values, **more}
        node["outputs"] = [{"name": kind, "type": kind, "links": []} for kind in outputs]
        self.nodes.append(node)
        return self.count

    def wire(self, source, slot, target, target_slot, as_dict=False):
        link_id = len(self.links) + 1
        link = [link_id, source, slot, target, target_slot, "*"]
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        self.links.append(dict(zip(names, link, strict=True)) if as_dict else link)
        for node in self.nodes:
            if node["id"] == target:
                node["inputs"][target_slot]["link"] = link_id
        return link_id

    def document(self):
        return {
            "version": 0.4,
            "nodes": self.nodes,
            "links": self.links,
            "definitions": {"subgraphs": self.definitions},
        }

    def definition(self, subgraph_id, inputs, outputs):
        """This sheet as a subgraph; wires from -10 are its inputs, wires to -20 its outputs."""
        return {
            "id": subgraph_id, "name": f"group {subgraph_id}", "nodes": self.nodes, "links": self.links,
            "inputNode": {"id": -10}, "outputNode": {"id": -20},
            "inputs": [{"name": name, "type": "*"} for name in inputs],
            "outputs": [{"name": name, "type": "*"} for name in outputs],
        }  # fmt: skip
