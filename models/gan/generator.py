"""A GAN generator (socket GAN_GENERATOR): a frozen network with the facts that editing needs about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from einops import repeat
from torch import Tensor, nn

from ...kernels import sharing_cores
from ..checkpoint import parse_json, read_safetensors, write_safetensors
from ..code_range import LARGEST_WEIGHT, check_range
from ..errors import CheckpointError, InputError, about_file, check_choice
from ..inference import no_inference_mode
from ..printable import printable
from ..progress import Progress
from .adaptation import Adaptation
from .network import GeneratorNetwork, picture_part
from .precision import PRECISIONS
from .progan import ARCHITECTURE, ProgressiveConfig, ProgressiveGAN
from .stylegan2 import StyleGAN2
from .stylegan2_config import StyleGAN2Config, config_from_header
from .stylegan3 import StyleGAN3
from .stylegan3_config import ALIAS_FREE, StyleGAN3Config
from .synthesis_run import SynthesisOptions

Network = StyleGAN2 | StyleGAN3 | ProgressiveGAN
Config = StyleGAN2Config | StyleGAN3Config | ProgressiveConfig

_STATISTICS_SAMPLES = 8192
# Pixels of one synthesis pass: a 1024 px picture at a time on the CPU keeps a batch of 8 below 4 GB.
_PIXELS_PER_CHUNK = {"cpu": 2 * 1024 * 1024, "cuda": 8 * 1024 * 1024}
# The same where a graph is kept for a gradient: every layer's input and output stay.
_PIXELS_PER_GRAPH = {"cpu": 512 * 1024, "cuda": 4 * 1024 * 1024}


@dataclass(frozen=True, eq=False)
class GanGenerator:
    """A frozen generator: StyleGAN2, StyleGAN3, or Progressive GAN, whose code is a single row.

    ``family`` names the W space: codes, directions and edits of one family combine freely. ``adaptation`` is what a
    photo-specific generator changed on top of the network (None here); it inherits the family.
    """

    network: GeneratorNetwork
    family: str
    name: str = "generator"
    adaptation: Adaptation | None = None
    _statistics: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def resolution(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.network.config.resolution

    @property
    def num_layers(self) -> int:
        """L, the rows of W+."""
        return self.network.config.num_layers

    @property
    def w_dim(self) -> int:
        """D, the width of a row."""
        return self.network.config.w_dim

    @property
    def z_dim(self) -> int:
        """The width of z."""
        return self.network.config.z_dim

    @property
    def label_dim(self) -> int:
        """The width of the labels, 0 for generators without."""
        return self.network.config.c_dim

    @property
    def codes_are_noise(self) -> bool:
        """True where a code is z itself, as a Progressive GAN's is, adapted to a photo or not."""
        return self.network.config.architecture == ARCHITECTURE

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.network.mapping.w_avg.device

    @property
    def w_mean(self) -> Tensor:
        """[D], the mean of W: the tracked average of the checkpoint, else that of fixed samples; zero where w is z."""
        tracked = self.network.mapping.w_avg
        if self.codes_are_noise or bool(tracked.abs().max() > 0):
            return tracked
        return self._sampled_statistics()[0]

    @property
    def w_covariance(self) -> Tensor:
        """[D, D], the covariance of W over fixed samples; the unit matrix where w is z."""
        if self.codes_are_noise:
            return torch.eye(self.w_dim, device=self.device)
        return self._sampled_statistics()[1]

    def map(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        truncation: float = 1.0,
        truncation_layers: int | None = None,
    ) -> Tensor:
        """Map z to w, broadcast to all rows and pulled toward the mean of W.

        Args:
            z: [B, Z].
            labels: [B, C] for generators with labels.
            truncation: 1 keeps w, 0 gives the mean face.
            truncation_layers: pull only so many rows toward the mean; None: all.

        Returns:
            [B, L, D].

        Raises:
            InputError: z or labels of another shape.
        """
        w = self.network.mapping(z.to(self.device), None if labels is None else labels.to(self.device))
        ws = repeat(w, "b d -> b l d", l=self.num_layers).contiguous()
        if truncation != 1.0:
            rows = self.num_layers if truncation_layers is None else truncation_layers
            mean = self.w_mean.to(ws)
            ws = torch.cat([mean + truncation * (ws[:, :rows] - mean), ws[:, rows:]], dim=1)
        return ws

    def synthesize(
        self,
        w: Tensor,
        noise: str | int = "constant",
        stop_resolution: int | None = None,
        chunk: int | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Draw codes.

        Args:
            w: [B, L, D].
            noise: "constant", "none", or an int seed.
            stop_resolution: height in pixels at which to stop ("skip" architecture alone); None: the finished picture.
            chunk: pictures per pass; None chooses by memory.
            progress: of pictures, with previews [3, H, W].

        Returns:
            [B, 3, H, W], about -1..1.

        Raises:
            InputError: codes of another shape, an unknown noise, a height or a chunk that cannot be.
        """
        w = w.to(self.device)
        if w.ndim != 3 or w.shape[0] == 0:
            raise InputError(f"The latent has shape {tuple(w.shape)}; expected [B, {self.num_layers}, {self.w_dim}].")
        if chunk is None:
            chunk = self._pictures_per_chunk(stop_resolution)
        if not isinstance(chunk, int) or chunk < 1:
            raise InputError(f"The pictures per pass are {chunk!r}; expected a whole number of at least 1.")
        images: list[Tensor] = []
        photos = self.network.photos_of(w)  # whose photo a code is, is seen from the whole batch
        for first in range(0, len(w), chunk):
            codes = w[first : first + chunk]
            options = SynthesisOptions(
                noise=noise,
                stop_resolution=stop_resolution,
                first_index=first,
                photos=None if photos is None else photos[first : first + chunk],
            )
            with sharing_cores():
                images.append(self.network.synthesis(codes, options).image)
            if progress is not None:
                progress(min(first + chunk, len(w)), len(w), images[-1][-1] * 0.5 + 0.5)
        return images[0] if len(images) == 1 else torch.cat(images)

    def features(self, w: Tensor, layers: Collection[int], noise: str | int = "constant") -> dict[int, Tensor]:
        """Draw the features of some layers; the synthesis ends with the last one.

        Args:
            w: [B, L, D].
            layers: one or more.
            noise: as of `synthesize`.

        Returns:
            layer -> [B, C, h, w], without a margin beyond the picture.

        Raises:
            InputError: no layers, layers that do not exist, or codes of another shape.
        """
        if not layers:
            raise InputError("Ask for the features of at least one layer.")
        options = SynthesisOptions(noise=noise, want_features=layers, stop_layer=max(layers))
        features = self.network.synthesis(w.to(self.device), options).features
        return {layer: picture_part(self.network.synthesis, layer, x) for layer, x in features.items()}

    def to(self, device: torch.device | str) -> GanGenerator:
        """Return the same generator on another device (the network moves; the value is new)."""
        self.network.to(device)
        return replace(self, _statistics={name: t.to(device) for name, t in self._statistics.items()})

    def check_latent(self, codes: Tensor, family: str, name: str = "The latent") -> None:
        """Check that codes belong to this generator.

        Args:
            codes: [B, L, D].
            family: theirs; "" is checked by shape alone.
            name: of the codes, as the sentence calls them.

        Raises:
            InputError: another shape or family.
        """
        expected = (self.num_layers, self.w_dim)
        if codes.ndim != 3 or tuple(codes.shape[1:]) != expected:
            raise InputError(
                f"{name} has shape {tuple(codes.shape)}; the generator '{self.name}' expects [B, {expected[0]}, "
                f"{expected[1]}]. It was made with another generator: use that one, or make it again with this one."
            )
        if family and family != self.family:
            raise InputError(
                f"{name} belongs to the generator family '{family}', but '{self.name}' is of the family "
                f"'{self.family}'. Codes and directions only work within one family."
            )

    def pictures_per_graph(self, limit: int | None = None) -> int:
        """Return how many pictures may share one gradient's graph: 8 of 256 px on the CPU, 1 of 1024 px.

        Args:
            limit: return no more than it; None: as many as fit.
        """
        height, width = self.resolution
        budget = _PIXELS_PER_GRAPH.get(self.device.type, _PIXELS_PER_GRAPH["cpu"])
        fitting = max(1, budget // (height * width))
        return fitting if limit is None else min(limit, fitting)

    def _pictures_per_chunk(self, stop_resolution: int | None) -> int:
        """Return how many pictures of a height fit in one pass without a graph."""
        height, width = self.resolution
        if stop_resolution is not None:
            height, width = stop_resolution, width * stop_resolution // height
        budget = _PIXELS_PER_CHUNK.get(self.device.type, _PIXELS_PER_CHUNK["cpu"])
        return max(1, budget // (height * width))

    def _sampled_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean [D] and covariance [D, D] of W over fixed samples, computed once."""
        if "w_covariance" not in self._statistics:
            rng = torch.Generator().manual_seed(0)
            z = torch.randn(_STATISTICS_SAMPLES, self.z_dim, generator=rng)
            labels = None
            if self.label_dim:
                classes = torch.randint(self.label_dim, (_STATISTICS_SAMPLES,), generator=rng)
                labels = torch.nn.functional.one_hot(classes, self.label_dim).float().to(self.device)
            with torch.inference_mode(False), torch.no_grad():
                w = self.network.mapping(z.to(self.device), labels)
                self._statistics["w_mean"] = w.mean(dim=0)
                self._statistics["w_covariance"] = torch.cov(w.t())
        if self._statistics["w_mean"].device != self.device:  # the host has moved the network since
            with no_inference_mode():
                self._statistics.update({name: t.to(self.device) for name, t in self._statistics.items()})
        return self._statistics["w_mean"], self._statistics["w_covariance"]


def family_fingerprint(network: Network) -> str:
    """Name the space of codes: equal for equal mapping networks, whatever the file they came from.

    A Progressive GAN has no mapping; what its codes mean begins with its first layer, so that is taken instead.
    Half-precision files are rounded before hashing, so that a checkpoint and its half-precision copy agree.
    """
    progressive = isinstance(network, ProgressiveGAN)
    space = network.synthesis.layer1 if progressive else network.mapping
    digest = hashlib.sha256(b"" if progressive else _w_space(network.config))
    for name, tensor in sorted(space.state_dict().items()):
        if name != "w_avg":
            digest.update(name.encode() + tensor.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    height, width = network.config.resolution
    kind = "progan" if progressive else "stylegan3" if isinstance(network, StyleGAN3) else "stylegan2"
    return f"{kind}-{height}x{width}-{digest.hexdigest()[:10]}"


def _w_space(config: StyleGAN2Config | StyleGAN3Config) -> bytes:
    """Return the dimensions on which the meaning of a code depends."""
    return repr((config.z_dim, config.c_dim, config.w_dim, config.num_layers, config.lr_multiplier)).encode()


def load_generator(path: str | Path, device: torch.device | str = "cpu", precision: str = "automatic") -> GanGenerator:
    """Read a generator from a .safetensors file made by ``semantic-edit convert`` or :func:`save_generator`.

    Args:
        path: of the file; its name becomes the generator's.
        device: where the weights are brought.
        precision: in which a StyleGAN2 draws its four highest resolutions, one of `precision.PRECISIONS`; "automatic"
            is float32 on CPUs. Others draw in float32.

    Returns:
        The generator, frozen, its weights in float32.

    Raises:
        InputError: another precision.
        CheckpointError: anything else; one sentence.
    """
    path = Path(path)
    check_choice("precision", precision, PRECISIONS)
    # Outside inference mode, reading included: weights made inside could never take part in an optimisation.
    with no_inference_mode():
        tensors, metadata = read_safetensors(path, kind="generator")
        parse_json(metadata, "config", path)
        try:
            config = _read_config(metadata.get("config", ""))
        except CheckpointError as problem:
            raise CheckpointError(f"{path.name}: {printable(str(problem))}") from None
        _check_size(config, tensors, path)
        with torch.device("meta"):  # no memory is spent on weights that the file replaces
            network = _network_class(config)(config)
        check_shapes(network, tensors, path)
        check_weights(tensors, path)
        plain = {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
        network.load_state_dict(plain, strict=True, assign=True)
        network = network.requires_grad_(False).eval().to(device)
    if isinstance(network, StyleGAN2):
        network.synthesis.precision = precision
    family = metadata.get("family") or family_fingerprint(network)
    return GanGenerator(network, family, name=printable(path.stem))


def save_generator(
    path: str | Path,
    network: Network,
    provenance: dict[str, object] | None = None,
    half: bool = False,
    family: str | None = None,
    exclusive: bool = False,
) -> Path:
    """Write a network so that :func:`load_generator` reads it back.

    Args:
        path: of the file.
        network: plain.
        provenance: where it comes from, for the header.
        half: store float16: half the size, about three decimal digits.
        family: None: its fingerprint.
        exclusive: never replace a file; raises TakenError.

    Returns:
        The path.
    """
    state = network.state_dict()
    if half:
        state = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    family = family or family_fingerprint(network)
    return write_safetensors(path, state, "generator", network.config.to_json(), provenance, family, exclusive)


def _read_config(text: str) -> Config:
    """Read the config in a header; StyleGAN2's unless it names another architecture.

    Raises:
        CheckpointError: it is no config.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    kind = values.get("architecture") if isinstance(values, dict) else None
    if kind == ARCHITECTURE:
        return ProgressiveConfig.from_json(values)
    return StyleGAN3Config.from_json(values) if kind == ALIAS_FREE else config_from_header(text)


def _network_class(config: Config) -> type[Network]:
    """Return the network that a config describes."""
    if isinstance(config, ProgressiveConfig):
        return ProgressiveGAN
    return StyleGAN3 if isinstance(config, StyleGAN3Config) else StyleGAN2


def _check_size(config: Config, tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse a header that promises more than the file holds: it would cost memory before shapes are compared."""
    if len(tensors) > 100 * len(config.channels) + 4 * config.mapping_layers + 16:
        raise CheckpointError(f"{path.name}: it holds {len(tensors)} tensors, far more than its config describes.")


def check_weights(tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse weights whose squares would leave float32.

    Raises:
        CheckpointError: names the tensor.
    """
    with about_file(path):
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                check_range(f"'{printable(name)[:80]}'", tensor, LARGEST_WEIGHT)


def check_shapes(network: nn.Module, tensors: dict[str, Tensor], path: Path, kind: str = "generator") -> None:
    """Check that tensors of a file are a network's.

    Args:
        network: on any device, "meta" too.
        tensors: by the names of its state.
        path: of the file.
        kind: of the network, as the sentence calls it.

    Raises:
        CheckpointError: other names or shapes, or no floating point.
    """
    expected = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    missing = sorted(set(expected) - set(tensors))
    extra = sorted(set(tensors) - set(expected))
    if missing or extra:
        names = printable(", ".join((missing or extra)[:3]))[:200]
        differs = f"lacks {names}" if missing else f"has unknown tensors {names}"
        raise CheckpointError(f"{path.name} {differs}; it does not match the {kind} that its header describes.")
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(
                f"{path.name}: {name} has shape {tuple(tensors[name].shape)}, its header describes {shape}."
            )
        if not tensors[name].is_floating_point():
            raise CheckpointError(f"{path.name}: {name} holds {tensors[name].dtype}, expected floating point.")
