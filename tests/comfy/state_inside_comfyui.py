"""Runs inside ComfyUI's Python, without its server: a reader over the middle of native models of small random weights.

Not collected by pytest; test_comfy_state.py starts it. The last line it writes is "all good".
"""

import asyncio
import importlib.util
import sys
from pathlib import Path

checkout, pack, base = sys.argv.pop(1), Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
only = sys.argv[1:]  # kinds, for one who looks for a fault by hand
del sys.argv[1:]
sys.path.insert(0, checkout)
sys.argv += ["--cpu", "--base-directory", str(base)]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import torch  # noqa: E402
from small_models import conditioning_of, kinds, latent_of, native  # noqa: E402

import nodes  # noqa: E402, F401  (what tells the pack that ComfyUI is there)

spec = importlib.util.spec_from_file_location(str(pack).replace(".", "_x_"), pack / "__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
extension = asyncio.run(module.comfy_entrypoint())
NODES = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}


class BlockCoder:
    """Stands for a VAE: the latents of pictures [B, 128, 128, 3] are their cells' means, in as many channels."""

    def __init__(self, channels):
        self.channels = channels

    def encode(self, pictures):
        cells = torch.nn.functional.avg_pool2d(pictures.movedim(-1, 1), 8)
        return cells.repeat(1, -(-self.channels // 3), 1, 1)[:, : self.channels] * 2 - 1


def check(kind):
    model = native(kind)
    state = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    before = torch.rand(3, 128, 128, 3, generator=torch.Generator().manual_seed(0)) * 0.5
    before = torch.nn.functional.avg_pool2d(before.movedim(-1, 1), 32).repeat_interleave(32, 2).repeat_interleave(32, 3)
    before = before.movedim(1, -1).contiguous()
    after = before + 0.3
    reader, report = NODES["SemanticEditReadFromExample"].execute(
        before=before[:1], after=after[:1], features="automatic", name="light", model=model,
        vae=BlockCoder(latent_of(kind).shape[1]), conditioning=conditioning_of(kind),
    ).result  # fmt: skip
    pictures = torch.cat([before[:1], after[:1], before[1:], after[1:]]).movedim(-1, 1) * 2 - 1
    readings = reader.read(pictures)[:, 0]
    assert abs(float(readings[0])) < 1e-3 and abs(float(readings[1]) - 1) < 1e-3, (kind, readings)
    again = reader.read(pictures[[4, 1]])[:, 0]
    assert torch.allclose(again, readings[[4, 1]], atol=1e-3), (kind, again, readings)
    after_state = model.model.state_dict()
    assert all(torch.equal(state[name], after_state[name]) for name in state), "not one weight is another"
    assert not [layer for layer in model.model.modules() if layer._forward_hooks], "no hook is left"
    sys.stdout.write(f"{kind}: {report}; others {[round(x, 2) for x in readings[2:].tolist()]}\n")


with torch.inference_mode():
    for kind in only or kinds():
        check(kind)
sys.stdout.write("all good\n")
