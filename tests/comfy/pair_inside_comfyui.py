"""Runs inside ComfyUI's Python, without its server: the pair edit nodes on native models made of small random weights.

Not collected by pytest; test_comfy_pair.py starts it. The last line it writes is "all good".
"""

import asyncio
import importlib.util
import sys
from pathlib import Path

checkout, pack, base = sys.argv.pop(1), Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
only = sys.argv[1:]  # kinds and quantised forms, for one who looks for a fault by hand
del sys.argv[1:]
sys.path.insert(0, checkout)
sys.argv += ["--cpu", "--base-directory", str(base)]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.lora  # noqa: E402
import comfy.utils  # noqa: E402
import torch  # noqa: E402
from pair_checks import REFERENCED, check_gradient, check_reference  # noqa: E402
from small_models import conditioning_of, kinds, latent_of, native, quantised  # noqa: E402

import nodes  # noqa: E402, F401  (what tells the pack that ComfyUI is there)

spec = importlib.util.spec_from_file_location(str(pack).replace(".", "_x_"), pack / "__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
extension = asyncio.run(module.comfy_entrypoint())
NODES = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
backend = module.host.current().diffusion
LEARNING = dict(
    loss="content first", steps=3, content_steps=2, rate=1e-2, rank=4, draws=2, blocks="all", seed=0, checkpointing=True
)


class LatentCoder:
    """A VAE whose pictures are latents already: what is learned of a pair is what is given."""

    def __init__(self, *latents):
        self.latents = list(latents)

    def encode(self, pictures):
        return self.latents.pop(0)

    def decode(self, latents):
        return latents[:, :3].movedim(1, -1) / 8 + 0.5


def run(node, **inputs):
    return NODES[f"SemanticEdit{node}"].execute(**inputs).result


def check(kind, model=None):
    model = model or native(kind)
    state = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    conditioning, before = conditioning_of(kind), latent_of(kind)
    change = torch.zeros_like(before)
    change[..., 4:12, 4:12] = 0.8
    picture = torch.zeros(1, 128, 128, 3)
    common = {"model": model, "conditioning": conditioning}
    edit, _, _, report = run(
        "LearnPairEdit", **common, vae=LatentCoder(before, before + change), before=picture, after=picture, **LEARNING
    )
    photos = {"samples": torch.cat([latent_of(kind, seed) for seed in (1, 2, 3)])}
    inverted = run("InvertToNoise", **common, latent=photos, steps=4)[0]
    applying = {**common, "edit": edit, "steps": 4}
    strengths = importlib.import_module(f"{spec.name}.editing.common.types").EditStrength(
        torch.tensor([0.0, 0.5, -0.5])
    )
    edited = run("ApplyPairEdit", **applying, latent=photos, strength=0.0, strengths=strengths, inverted=inverted)[0][
        "samples"
    ]
    assert edited.shape == photos["samples"].shape and bool(torch.isfinite(edited).all())
    for k, strength in enumerate((0.0, 0.5, -0.5)):
        one, noise = ({"samples": batch["samples"][k : k + 1]} for batch in (photos, inverted))
        alone = run("ApplyPairEdit", **applying, latent=one, strength=strength, inverted=noise)[0]["samples"]
        assert float((alone[0] - edited[k]).abs().max()) <= 1e-5 * float(edited.abs().max()), (kind, k)
    readers = importlib.import_module(f"{spec.name}.editing.state")
    reader = readers.StateReader(lambda pictures: pictures.mean(dim=(1, 2, 3)), ("brightness",))
    images, _, numbers, _, report = run(
        "ReachStateWithPairEdit", **applying, vae=LatentCoder(), latent=photos, inverted=inverted, reader=reader,
        aim="median", target=0.0, reading="", strengths="-0.5, 0, 0.5", rounds=1,
    )  # fmt: skip
    assert len(images) == 3 and all(-0.5 <= number <= 0.5 for number in numbers), (kind, numbers)
    assert "pictures drawn" in report, report
    zero = run("ApplyPairEdit", **applying, latent=photos, strength=0.0, inverted=inverted)[0]["samples"]
    assert torch.allclose(zero[0], edited[0], atol=1e-5) and float((zero[1] - edited[1]).abs().max()) > 1e-5, kind
    after = model.model.state_dict()
    assert all(torch.equal(state[name], after[name]) for name in state), "not one weight is another"
    assert not [layer for layer in model.model.modules() if layer._forward_hooks], "no hook is left"
    as_core_loads_it(kind, model, edit)
    refusals(kind, model, edit, photos, conditioning)
    sys.stdout.write(f"{kind}: {report}\n")


def as_core_loads_it(kind, model, edit):
    """The saved file in ComfyUI's own LoRA loader: every layer is known there, and changes the model."""
    file = run("SavePairEdit", edit=edit, name=f"slider_{kind}")[0]
    path = next(Path(base).rglob(Path(file).name))
    tensors = comfy.utils.load_torch_file(str(path), safe_load=True)
    names = comfy.lora.model_lora_keys_unet(model.model, {})
    patches = comfy.lora.load_lora(tensors, names)
    layers = {key.rsplit(".", 2)[0] for key in tensors if key.endswith("lora_up.weight")}
    assert len(patches) == len(layers), f"{len(layers)} layers in the file, {len(patches)} known to core"
    patched = model.clone()
    assert set(patched.add_patches(patches, 1.0)) == set(patches)
    loaded = run("LoadPairEdit", file=file)[0]
    assert all(torch.equal(loaded.lora[name], edit.lora[name]) for name in edit.lora)


def refusals(kind, model, edit, photos, conditioning):
    other = native("sd" if kind != "sd" else "flux")
    other_kind = "sd" if kind != "sd" else "flux"
    batch = {"samples": latent_of(other_kind)}
    try:
        run(
            "ApplyPairEdit", model=other, edit=edit, latent=batch, conditioning=conditioning_of(other_kind), steps=2,
            strength=1.0,
        )  # fmt: skip
    except ValueError as error:
        assert "does not fit" in str(error) or kind in ("v", "flow"), error
    else:
        assert kind in ("v", "flow", "inpaint", "pix2pix"), "an edit of another model was taken"


with torch.inference_mode():
    for kind in [kind for kind in kinds() if not only or kind in only]:
        check(kind)
        error = check_gradient(spec.name, backend, kind)
        sys.stdout.write(f"{kind}: gradient of a step off by {error:.1e} of itself\n")
    for form in ("float8_e4m3fn", "int8_tensorwise"):  # learned beside, as ComfyUI computes them
        model = quantised("flux", form) if not only or form in only else None
        if model is not None:
            sys.stdout.write(f"{form}, ")
            check("flux", model)
    for kind, method in REFERENCED:
        if kind in kinds() and (not only or kind in only):
            check_reference(spec.name, run, kind, method, LEARNING, LatentCoder)
            error = check_gradient(spec.name, backend, kind, method)
            sys.stdout.write(f"{kind} with references ({method}): gradient off by {error:.1e} of itself\n")
sys.stdout.write("all good\n")
