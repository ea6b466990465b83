"""Fixtures shared by all tests. The headless host is chosen here, before any test imports a node."""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import tempfile
from pathlib import Path

import pytest
from semantic_edit.headless import HeadlessSettings, use_headless
from semantic_edit.headless.host.progress_bar import Bar

use_headless()
# Paths of kernels are measured once for the whole run, and leave no file in the user's folder.
_choices = tempfile.TemporaryDirectory(prefix="semantic-edit-choices-")
os.environ["SEMANTIC_EDIT_KERNEL_CHOICES"] = _choices.name


@pytest.fixture
def headless_host(tmp_path):
    """The headless host with empty input, output and models folders of its own, on the CPU."""
    for name in ("input", "output", "models"):
        (tmp_path / name).mkdir()
    settings = HeadlessSettings(tmp_path / "input", tmp_path / "output", tmp_path / "models", device="cpu")
    settings.bar = Bar(io.StringIO())
    yield use_headless(settings)
    use_headless()


@pytest.fixture(scope="session")
def toys():
    """The module tests/toy_nodes.py: small nodes, and `Sheet`, a builder of workflow files."""
    spec = importlib.util.spec_from_file_location("toy_nodes", Path(__file__).parent / "toy_nodes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def runner(headless_host, toys):
    """A `Runner` that knows the toy nodes and the core nodes, but not the pack's."""
    from semantic_edit.headless.run.catalog import core_nodes
    from semantic_edit.headless.run.runner import Runner

    return Runner(headless_host, {**core_nodes(), **toys.TOYS})


@pytest.fixture(scope="session")
def tiny_network():
    """A random StyleGAN2 of 32 px, 8 rows of W+ and width 16, in which nothing that training would set is zero."""
    import torch
    from semantic_edit.models import StyleGAN2, StyleGAN2Config

    rng = torch.Generator().manual_seed(7)
    config = StyleGAN2Config(z_dim=16, w_dim=16, channels=(16, 16, 12, 8), mapping_layers=2, lr_multiplier=1.0)
    network = StyleGAN2(config, generator=rng)
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if name.endswith((".bias", ".noise_strength", ".w_avg")) and "affine" not in name:
                tensor.add_(torch.randn(tensor.shape, generator=rng) * 0.2)
    return network.requires_grad_(False).eval()


@pytest.fixture
def tiny_generator(tiny_network):
    """`tiny_network` as GAN_GENERATOR carries it."""
    from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint

    return GanGenerator(tiny_network, family_fingerprint(tiny_network), "tiny")


@pytest.fixture(scope="session")
def tiny_progan_network():
    """A random Progressive GAN of 32 px and z of 16, in which no bias is zero."""
    import torch
    from semantic_edit.models import ProgressiveConfig, ProgressiveGAN

    rng = torch.Generator().manual_seed(11)
    network = ProgressiveGAN(ProgressiveConfig(z_dim=16, channels=(16, 16, 12, 8)), generator=rng)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("bias"):
                tensor.add_(torch.randn(tensor.shape, generator=rng) * 0.2)
    return network.requires_grad_(False).eval()


@pytest.fixture
def tiny_progan(tiny_progan_network):
    """`tiny_progan_network` as GAN_GENERATOR carries it."""
    from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint

    return GanGenerator(tiny_progan_network, family_fingerprint(tiny_progan_network), "tiny progan")


@pytest.fixture(scope="session")
def make_stylegan3():
    """make_stylegan3(**config fields) -> a random StyleGAN3 of 32 px and 7 rows in which nothing is as it starts."""
    import torch
    from semantic_edit.models import StyleGAN3, StyleGAN3Config

    def make(**fields):
        rng = torch.Generator().manual_seed(13)
        defaults = {
            "z_dim": 16,
            "w_dim": 16,
            "image_size": 32,
            "channels": (12, 12, 10, 10, 8, 8),
            "lr_multiplier": 1.0,
        }
        network = StyleGAN3(StyleGAN3Config(**{**defaults, **fields}), generator=rng)
        with torch.no_grad():
            for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
                drawn = torch.randn(tensor.shape, generator=rng)
                if name.endswith("magnitude_ema"):
                    tensor.copy_((0.5 * drawn).exp())
                elif name.endswith("input.transform"):
                    tensor[:2] += 0.1 * drawn[:2]
                elif name.endswith(("bias", "w_avg", "input.affine.weight")):
                    tensor.add_(0.2 * drawn)
        return network.requires_grad_(False).eval()

    return make


@pytest.fixture(scope="session")
def tiny_stylegan3_network(make_stylegan3):
    """`make_stylegan3` of configuration T."""
    return make_stylegan3()


@pytest.fixture
def tiny_stylegan3(tiny_stylegan3_network):
    """`tiny_stylegan3_network` as GAN_GENERATOR carries it."""
    from semantic_edit.models.gan.generator import GanGenerator, family_fingerprint

    return GanGenerator(tiny_stylegan3_network, family_fingerprint(tiny_stylegan3_network), "tiny stylegan3")


def _drawn(network, seed: int):
    """The network with numbers of the usual sizes: no bias is zero, spreads are positive."""
    import torch

    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            numbers = torch.randn(tensor.shape, generator=rng)
            if name.endswith("running_var") or name.startswith("lin"):
                tensor.copy_(0.5 + numbers.abs())
            elif tensor.ndim == 1:
                tensor.add_(0.2 * numbers)
            else:
                tensor.copy_(numbers * 1.4 / tensor[0].numel() ** 0.5)
    return network.requires_grad_(False).eval()


@pytest.fixture(scope="session")
def tiny_identity():
    """A random face recogniser of four units, which sees faces at 32 px."""
    from semantic_edit.models.losses.identity import IdentityConfig, IdentityNetwork

    return _drawn(IdentityNetwork(IdentityConfig((4, 4, 6, 8, 10), (1, 1, 1, 1), 12, 32)), 3)


@pytest.fixture(scope="session")
def tiny_perceptual():
    """A random VGG16 of a few channels, with LPIPS' weights."""
    from semantic_edit.models.losses.perceptual import PerceptualConfig, PerceptualNetwork

    return _drawn(PerceptualNetwork(PerceptualConfig((4, 5, 5, 6, 6, 7, 7, 8, 8, 8, 9, 9, 9))), 4)


@pytest.fixture(scope="session")
def make_segmenter():
    """make_segmenter(**config fields) -> a random face parser of a few channels, which sees pictures at 64 px."""
    from semantic_edit.models.segmenters.bisenet import FaceSegmenter, SegmenterConfig

    def make(**fields):
        narrow = {"widths": (4, 4, 5, 6, 7), "context": 5, "fused": 8, "head": 6, "size": 64}
        return _drawn(FaceSegmenter(SegmenterConfig(**{**narrow, **fields})), 6)

    return make


@pytest.fixture(scope="session")
def tiny_segmenter(make_segmenter):
    """`make_segmenter` with the published parts."""
    return make_segmenter()


@pytest.fixture
def tiny_encoder(tiny_generator):
    """A random encoder for `tiny_generator`."""
    import torch
    from semantic_edit.models.encoders.encoder import Encoder, EncoderConfig

    with torch.random.fork_rng():
        torch.manual_seed(5)
        encoder = Encoder(EncoderConfig(32, 4, 8, 16, 16), tiny_generator.family)
        torch.nn.init.normal_(encoder.offsets.weight, std=0.1)
    return encoder.eval().requires_grad_(False)


@pytest.fixture
def run_node(headless_host):
    """Run a node of the pack as ComfyUI does: run_node(id without prefix, **inputs) -> (values, what it shows)."""
    import torch
    from semantic_edit.headless.run.execution import execute
    from semantic_edit.nodes import node_classes

    nodes = {node.GET_SCHEMA().node_id: node for node in node_classes()}

    def run(node_id, hidden=None, **inputs):
        node = nodes[f"SemanticEdit{node_id}"]
        schema = node.GET_SCHEMA()
        defaults = {socket.id: socket.default for socket in schema.inputs or [] if hasattr(socket, "default")}
        # A list without a default shows its first entry, as in ComfyUI.
        choices = {socket.id: socket.options[0] for socket in schema.inputs or [] if getattr(socket, "options", None)}
        defaults = {**choices, **{name: value for name, value in defaults.items() if value is not None}}
        values = {**defaults, **inputs}
        lists = {name: [value] for name, value in values.items() if name in inputs or value is not None}
        with torch.inference_mode():
            results, shown = execute(node, schema, lists, hidden or {})
        outputs = zip(results, schema.outputs or [], strict=True)
        return [result if output.is_output_list else result[0] for result, output in outputs], shown

    return run


@pytest.fixture(scope="session")
def tiny_unet():
    """A random UNet2DConditionModel of two levels on latents of 4 channels, conditioned on width 32, frozen."""
    import torch

    pytest.importorskip("transformers")
    from semantic_edit.models.loading.libraries import import_diffusers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = import_diffusers().UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 32),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=2,
            norm_num_groups=8,
        )
    return network.eval().requires_grad_(False)


@pytest.fixture
def tiny_denoiser(tiny_unet):
    """`tiny_unet` with Stable Diffusion's noise levels."""
    from semantic_edit.models.diffusion.model import DiffusionModel
    from semantic_edit.models.diffusion.schedule import NoiseSchedule

    return DiffusionModel(tiny_unet, NoiseSchedule.discrete(), name="tiny")


def beside_this(name):
    """A module of this folder; tests are imported from their files, and the folder is on no path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def picture_forge():
    """The module that makes odd picture files."""
    return beside_this("picture_forge")


@pytest.fixture(scope="session")
def forge_diffusion():
    """Writes a small random diffusers folder: (folder, kind, prediction) -> the folder."""
    return beside_this("diffusion_forge").forge
