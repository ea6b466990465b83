"""What benchmarks/methods.py times: each method's own function on small work, and the bare passes it cannot do without.

Everything is looked up in a package by name, so that another checkout of this package can stand beside it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_BATCH = {"demo": 4, "256": 2}
_DRAWS = 4
_SEGMENTED = 64  # pictures of a dissection, the fewest it takes


class Package:
    """Modules of the installed package, or of another checkout under another name."""

    def __init__(self, name: str = "semantic_edit", checkout: Path | None = None) -> None:
        self.name = name
        if checkout is not None and name not in sys.modules:
            entry = checkout / "__init__.py"
            spec = importlib.util.spec_from_file_location(name, entry, submodule_search_locations=[str(checkout)])
            if not entry.is_file() or spec is None or spec.loader is None:
                raise SystemExit(f"{checkout} is no checkout of this package: __init__.py is missing.")
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        self.models = Path(importlib.import_module(name).__file__).parent / "models" / "demo"

    def __call__(self, module: str, name: str) -> Any:
        """A name of a module: ("editing.photos.inversion", "invert")."""
        return getattr(importlib.import_module(f"{self.name}.{module}"), name)


@dataclass(frozen=True, eq=False)
class Case:
    """One method.

    Args:
        run: does the work, and calls what it is given after each step.
        floor: the bare passes of ``covers`` steps, nothing else.
        steps: how many steps `run` takes; 0: the whole call counts as one, and nothing is called.
        passes: what the floor of a step holds, in words.
    """

    run: Callable[[Callable[..., None]], object]
    floor: Callable[[], None]
    steps: int
    passes: str
    covers: int = 1


class World:
    """A package's generator of a size, codes and pictures, and the bare passes of its networks."""

    def __init__(self, package: Package, size: str, base: int) -> None:
        self.package, self.size = package, size
        if size == "demo":
            path = package.models / "generators" / "demo_portraits.safetensors"
            self.generator = package("models", "load_generator")(path)
        else:
            self.generator = random_generator(package, int(size), base)
        self.synthesis = self.generator.network.synthesis
        self.options = package("models.gan.synthesis_run", "SynthesisOptions")
        self.batch = _BATCH[size]
        rng = torch.Generator().manual_seed(3)
        self.codes = self.generator.map(torch.randn(self.batch, self.generator.z_dim, generator=rng))
        self.others = self.generator.map(torch.randn(self.batch, self.generator.z_dim, generator=rng))
        self.many = self.generator.map(torch.randn(_SEGMENTED, self.generator.z_dim, generator=rng))
        self.pictures = self.generator.synthesize(self.others).clamp(-1, 1)
        self.segmenter = package("demo.assets", "demo_segmenter")()

    def forward(self, codes: torch.Tensor, **how: Any) -> Any:
        """Layers without a graph."""
        with torch.no_grad():
            return self.synthesis(codes, self.options(**how))

    def both(self, codes: torch.Tensor, backwards: int = 1, **how: Any) -> None:
        """Layers with a graph, and back to the codes."""
        leaf = codes.clone().requires_grad_()
        with torch.enable_grad():
            run = self.synthesis(leaf, self.options(**how))
            end = (run.state.features if run.image is None else run.image).square().mean()
        for left in reversed(range(backwards)):
            torch.autograd.grad(end, leaf, retain_graph=left > 0)

    def late(self, first: int, resumed: Any, codes: torch.Tensor) -> None:
        """Layers from ``first`` on, and back to their input."""
        leaf = resumed.features.clone().requires_grad_()
        with torch.enable_grad():
            state = self.package("models.gan.synthesis_run", "LayerState")(first - 1, leaf, resumed.image)
            image = self.synthesis(codes, self.options(resume=state)).image
        image.square().mean().backward()


def random_generator(package: Package, pixels: int, base: int) -> Any:
    """A StyleGAN2 of random weights, as wide as NVlabs' of this channel base."""
    config, network = package("models", "StyleGAN2Config"), package("models", "StyleGAN2")
    channels = tuple(min(512, base // 2**k) for k in range(2, pixels.bit_length()))
    built = network(config(z_dim=512, w_dim=512, channels=channels)).requires_grad_(False).eval()
    return package("models.gan.generator", "GanGenerator")(built, f"random {pixels}", f"random {pixels} px")


def inversion(world: World) -> Case:
    """Four steps, two of them on pictures of half size."""
    half = world.generator.resolution[0] // 2
    run = world.package("editing.photos.inversion", "invert")

    def floor() -> None:  # of the steps after the first
        for height in (half, None, None):
            world.both(world.codes, stop_resolution=height)

    return Case(
        lambda told: run(world.generator, world.pictures, start=world.codes, steps=4, progress=told),
        floor,
        4,
        "synthesis forward and back, a third at half the size",
        covers=3,
    )


def direction(world: World, search: str) -> Case:
    """Edit One for All's optimisation, on the rows that a drag changes."""
    run = world.package("editing.one_for_all.directions", "optimize_direction")
    before, after = world.codes[0], world.codes[0].clone()
    after[:6] += 0.3 * (world.others[0] - world.codes[0])[:6]

    def floor() -> None:
        if search == "adam":
            for part in world.codes:
                world.forward(part[None])
        for part in world.codes:
            world.both(part[None])

    return Case(
        lambda told: run(
            world.generator, before, after, "text", steps=4, batch=world.batch, chunk=1, search=search, progress=told
        ),
        floor,
        4,
        f"{'synthesis forward, and ' if search == 'adam' else ''}synthesis forward and back",
    )


def dragging(world: World) -> Case:
    """Two handles with a region."""
    height = world.generator.resolution[0]
    points = world.package("editing.drag.points", "DragPoints")(
        torch.tensor([[0.4, 0.5], [0.6, 0.5]]) * height, torch.tensor([[0.45, 0.5], [0.65, 0.5]]) * height
    )
    region = torch.zeros(height, height)
    region[height // 4 : -height // 4, height // 4 : -height // 4] = 1
    module, layer = "editing.drag.drag", world.package("editing.drag.features", "feature_layer")(world.generator, 0.5)
    settings = world.package(module, "DragSettings")(steps=4, tolerance=1e-6)
    code = world.codes[:1]

    def floor() -> None:
        world.forward(code, stop_layer=layer)
        world.both(code, backwards=2 * len(points) + 1, stop_layer=layer)

    return Case(
        lambda told: world.package(module, "drag")(
            world.generator, code, points, region, settings=settings, progress=told, preview_every=0
        ),
        floor,
        4,
        "to half the height: forward, forward and 5 times back",
    )


def text(world: World) -> Case:
    """Regions, scored on whole pictures."""
    pk, names = world.package, world.package("demo.portraits.scene", "PART_NAMES")
    scorer = pk("models.scorers.scorer", "load_scorer")(pk.models / "scorers" / "demo_portraits")
    goal = pk("editing.text.clip_loss", "TextGoal")(scorer, "a person with a hat", score="both")
    settings = pk("editing.text.settings", "TextEditSettings")(steps=3, batch=world.batch, start=0, seed=1)
    codes = torch.cat([world.codes, world.others])
    parts = pk("editing.common.part_labels", "PartLabels")(
        world.segmenter.masks(world.generator.synthesize(codes)), names
    )
    train = pk("editing.text.training", "train_text_edit")
    twice = torch.cat([world.codes, world.others])

    def floor() -> None:
        world.both(twice)
        world.both(world.codes)
        seen = world.pictures.clone().requires_grad_()
        for _ in range(2):
            with torch.enable_grad():
                goal.embed(seen).square().sum().backward()

    return Case(
        lambda told: train(world.generator, goal, codes, parts, "a person with a hat", settings, progress=told),
        floor,
        3,
        "synthesis of three batches and scoring of two, forward and back",
    )


def adapting(world: World, method: str) -> Case:
    """Late layers alone are drawn."""
    pk = world.package
    first = pk("editing.photos.adaptation", "late_layers")(world.generator)[0]
    codes, pictures = world.codes[:1], world.pictures[:1]
    begun = world.forward(codes, stop_layer=first - 1).state
    steps = 0 if method == "residual" else 4

    def run(told: Callable[..., None]) -> None:
        pk("editing.photos.adaptation", "adapt")(
            world.generator, pictures, codes, method, steps=steps or None, progress=told if steps else None
        )

    network = pk("models.gan.perturbation", "PerturbationNetwork")(
        [
            world.synthesis.layer_size(layer)
            for layer in pk("editing.photos.adaptation", "late_layers")(world.generator)
        ],
        0,
    )

    def floor() -> None:
        if not steps:
            world.forward(codes)
            return
        world.synthesis.requires_grad_(method == "weights")
        world.late(first, begun, codes)
        world.synthesis.requires_grad_(False).zero_grad()
        if method == "network":
            with torch.enable_grad():
                sum(delta.sum() for delta in network()).backward()

    more = {"network": ", and the perturbation network", "weights": " to the weights"}.get(method, "")
    return Case(run, floor, steps, f"late layers, forward and back{more}" if steps else "synthesis forward")


def painting(world: World, form: str) -> Case:
    """One more stroke on a canvas that is open already."""
    pk, codes = world.package, world.codes[:1]
    concepts = concepts_of(world)
    height, width = world.generator.resolution
    mask = torch.zeros(1, height, width)
    mask[:, height // 8 : height // 2, width // 4 : -width // 4] = 1
    paint, render = (
        pk("editing.paint.strokes", "paint_concept"),
        pk("editing.paint.painted_photo", "render_painted_photo"),
    )
    canvas = pk("editing.paint.painted_photo", "Canvas")(world.generator, codes)
    photo = world.pictures[:1]

    def run(_: Callable[..., None]) -> None:
        with torch.inference_mode():
            render(canvas, paint(world.generator, concepts, "hat", mask, form=form), photo)

    run(print)
    stroke = paint(world.generator, concepts, "hat", mask, form=form)
    begun = world.forward(codes, stop_layer=stroke.first_layer - 1).state if stroke.first_layer else None

    def floor() -> None:
        if form == "donor":
            world.forward(codes, stop_layer=stroke.last_layer)
        world.forward(codes, resume=begun)

    passes = "synthesis from the first painted layer on"
    return Case(run, floor, 0, f"the donor's layers, and {passes}" if form == "donor" else passes)


def concepts_of(world: World) -> Any:
    """One concept with random numbers: its cost is that of any other."""
    layer = world.package("editing.paint.dissection", "middle_layer")(world.generator)
    units, rng = world.synthesis.layer_size(layer)[0], torch.Generator().manual_seed(0)
    step = torch.randn(1, 1, world.generator.w_dim, generator=rng)
    one, levels = torch.rand(1, units, generator=rng), torch.tensor([[-1e3, 1e3]])
    return world.package("editing.paint.concepts", "ConceptUnits")(
        layer, ("hat",), one, one, one[0], one, one, one, torch.ones(1), step, step[:, 0], levels,
        world.generator.family,
    )  # fmt: skip


def dissecting(world: World) -> Case:
    """Units of the middle layer against the parts that the demo's segmenter sees, without effects."""
    pk, names = world.package, world.package("demo.portraits.scene", "PART_NAMES")
    layer = pk("editing.paint.dissection", "middle_layer")(world.generator)

    def run(_: Callable[..., None]) -> None:
        with torch.inference_mode():
            pk("editing.paint.dissection", "dissect")(
                world.generator, world.many, lambda pictures, _: world.segmenter.masks(pictures), names, layer
            )

    def floor() -> None:
        for part in world.many.split(16):
            image = world.forward(part).image
            world.segmenter.masks(image)

    return Case(run, floor, 0, f"synthesis and the segmenter, {_SEGMENTED} pictures once")


def effects(world: World) -> Case:
    """What units cause, 4 pictures a concept."""
    pk, names = world.package, world.package("demo.portraits.scene", "PART_NAMES")
    layer = pk("editing.paint.dissection", "middle_layer")(world.generator)
    label, score = pk("demo.parts", "part_labeller")()
    codes = world.many[:32]
    with torch.inference_mode():
        concepts = pk("editing.paint.dissection", "dissect")(world.generator, world.many, label, names, layer)
    state = world.forward(codes[:4], stop_layer=layer).state

    def floor() -> None:  # of one concept, both ways
        for _ in range(8):
            leaf = state.features.clone().requires_grad_()
            with torch.enable_grad():
                begun = pk("models.gan.synthesis_run", "LayerState")(layer, leaf, state.image)
                area = score(world.synthesis(codes[:4], world.options(resume=begun)).image)[:, 0].mean()
            area.backward()

    return Case(
        lambda told: pk("editing.paint.unit_effects", "causal_effects")(
            world.generator, concepts, codes, score, 4, told
        ),
        floor,
        len(names),
        "layers after it and the segmenter, 4 pictures at 8 points, forward and back",
    )


def moving(world: World) -> Case:
    """A move of the strength slider: codes are moved and drawn."""
    pk = world.package
    direction = pk("editing.common.types", "EditDirection")(
        world.others[0] - world.codes[0], world.others[0] - world.codes[0], tuple(range(world.generator.num_layers))
    )

    def run(_: Callable[..., None]) -> None:
        with torch.inference_mode():
            plan = pk("editing.one_for_all.strength_modes", "strengths_for")(
                direction, world.codes, "constant", 0.5, None
            )
            world.generator.synthesize(
                pk("editing.one_for_all.closed_form", "apply_edit")(world.codes, direction, plan.alpha)
            )

    return Case(run, lambda: world.forward(world.codes), 0, "synthesis forward")


def folder(world: World) -> Case | None:
    """Edit Folder on 16 pictures; the demo's encoder fits its own generator alone."""
    if world.size != "demo":
        return None
    import batch_folder

    pk, work = world.package, Path(tempfile.mkdtemp(prefix="methods-"))
    pictures = batch_folder.make_pictures(work / "pictures", 16)
    encoder = pk("models.encoders.encoder", "load_encoder")(pk.models / "encoders" / "demo_portraits.safetensors")
    read = pk("models.files.direction", "read_direction")(pk.models / "directions" / "turn_head.safetensors")
    direction = pk("editing.one_for_all.attributes", "fit_to_generator")(world.generator, **read)
    transfer = pk("editing.one_for_all.transfer", "Transfer")(world.generator, direction, encoder, 1.5, "constant")
    count = [0]

    def run(_: Callable[..., None]) -> None:
        count[0] += 1
        with torch.inference_mode():
            pk("jobs", "run_job")(pk("jobs", "FolderJob")(pictures, work / f"results-{count[0]}", transfer))

    def floor() -> None:
        eight = world.pictures.repeat(2, 1, 1, 1)
        for _ in range(2):
            with torch.inference_mode():
                codes = encoder.encode(eight, world.generator)
                world.forward(codes)

    return Case(run, floor, 0, "encoder and synthesis, 16 pictures")


class Diffusion:
    """The demo diffusion model with a photo and a sentence; at 256 px the photo is a random one."""

    def __init__(self, world: World) -> None:
        pk = world.package
        bundle = pk("models.diffusion.folder", "load_diffusion")(pk.models / "diffusion" / "demo_portraits")
        self.model, rng = bundle.model, torch.Generator().manual_seed(2)
        side = (int(world.size) if world.size != "demo" else 64) // self.model.latent.downscale
        side = self.model.network.config.sample_size if world.size == "demo" else side
        self.latent = torch.randn(1, self.model.latent.channels, side, side, generator=rng)
        said = bundle.clip.encode_from_tokens_scheduled("a person with a hat")
        self.entry = pk("editing.imagic.conditioning", "single_conditioning")(said)
        self.context = self.entry.embedding.expand(_DRAWS, -1, -1)
        self.noisy, self.times = self.latent.expand(_DRAWS, -1, -1, -1), torch.arange(_DRAWS) * 200.0 + 100

    def both(self, weights: bool) -> None:
        """The network forward, and back to the embedding, or to an input of its first layer, which passes them all."""
        context, noisy = self.context.clone().requires_grad_(not weights), self.noisy.clone().requires_grad_(weights)
        with torch.enable_grad():
            out = self.model.network(noisy, timestep=self.times, encoder_hidden_states=context, return_dict=False)[0]
        out.square().mean().backward()


def imagic(world: World, stage: str) -> Case:
    """One of Imagic's two stages with four draws a step."""
    pk, made = world.package, Diffusion(world)
    if stage == "embedding":
        settings = pk("editing.imagic.embedding", "EmbeddingSettings")(steps=16, draws=_DRAWS)
        run = pk("editing.imagic.embedding", "optimize_embedding")
    else:
        settings = pk("editing.imagic.tuning", "TuneSettings")(steps=16, draws=_DRAWS)
        run = pk("editing.imagic.tuning", "tune_model")
    return Case(
        lambda told: run(made.model, made.latent, made.entry, settings, progress=told),
        lambda: made.both(weights=stage != "embedding"),
        16,
        f"the network forward, and back to {'the embedding' if stage == 'embedding' else 'its input'}",
    )


METHODS: dict[str, Callable[[World], Case | None]] = {
    "inversion": inversion,
    "direction, Adam": lambda world: direction(world, "adam"),
    "direction, quasi-Newton": lambda world: direction(world, "quasi-newton"),
    "drag": dragging,
    "strength": moving,
    "text edit": text,
    "adaptation, free deltas": lambda world: adapting(world, "free"),
    "adaptation, network": lambda world: adapting(world, "network"),
    "adaptation, weights": lambda world: adapting(world, "weights"),
    "adaptation, residual": lambda world: adapting(world, "residual"),
    "stroke, units": lambda world: painting(world, "units"),
    "stroke, donor": lambda world: painting(world, "donor"),
    "dissection": dissecting,
    "effects of units": effects,
    "Imagic's embedding": lambda world: imagic(world, "embedding"),
    "Imagic's tuning": lambda world: imagic(world, "tuning"),
    "folder": folder,
}
