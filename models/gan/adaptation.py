"""Image-specific adaptation (GANPaint, 2005.07727): the little that photos change in a frozen generator.

GANPaint multiplies the features of the last layers by 1 + delta so that the generator paints a photo with
all that it could not say. Here the deltas are a value of their own, and a wrapper composes them into the synthesis, so
that a generator with an adaptation goes wherever a generator goes. A delta that is fixed in place leaves ghosts when an
edit moves what it belongs to; so it follows the features of the last layer before it, and fades where they are new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import InputError
from ..inference import no_inference_mode
from .crop_box import CropBox, crop
from .feature_flow import FeatureFlow, feature_flow
from .hooks import SynthesisHook, hooked
from .network import GeneratorNetwork, without_margin
from .synthesis_run import SynthesisOptions, SynthesisResult

__all__ = [
    "AdaptedNetwork",
    "Adaptation",
    "DeltaHook",
    "photos_of",
    "with_adaptation",
    "without_adaptation",
]

_AT_ONCE = 8  # photos whose features are made in one pass


@dataclass(frozen=True, eq=False)
class Adaptation:
    """The changes that B photos make to a generator.

    Args:
        codes: [B, L, D], the codes of the photos: where their details belong.
        deltas: layer -> [B, C, h, w]; the layer's features are multiplied by 1 + delta.
        residual: [B, 3, H, W], colours that are added to the finished picture; None without.
        weights: parameter of the synthesis -> what is added to it, for all B photos alike.
        names: B names of the photos; left out: "#1", "#2", ...
        family: the generator family, "" when unknown.
        method: how it was made, for people and files.
        guide: the layer whose features tell where deltas and residual have gone when a code is edited, before all
            layers with deltas; None: they stay in place.
        state: the perturbation networks that made the deltas, [B, ...] each, to go on from; empty for other methods.
        seed: of their noise.

    Raises:
        InputError: shapes that do not agree, nothing at all, or numbers that are not finite.
    """

    codes: Tensor
    deltas: Mapping[int, Tensor] = field(default_factory=dict)
    residual: Tensor | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    names: Sequence[str] = ()
    family: str = ""
    method: str = ""
    guide: int | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_shapes()
        for name, tensor in self.tensors().items():
            if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
                raise InputError(f"The adaptation holds values of '{name}' that are not finite numbers.")
        names = tuple(str(name) for name in self.names) or tuple(f"#{k + 1}" for k in range(len(self.codes)))
        if len(names) != len(self.codes):
            raise InputError(f"An adaptation of {len(self.codes)} photos needs as many names; got {len(names)}.")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "deltas", dict(sorted(self.deltas.items())))

    def _check_shapes(self) -> None:
        """Raise InputError for shapes that do not agree, and for a guide that comes too late."""
        if self.codes.ndim != 3 or 0 in self.codes.shape:
            raise InputError(f"The codes of an adaptation must be [B, L, D]; got {list(self.codes.shape)}.")
        for layer, delta in self.deltas.items():
            if delta.ndim != 4 or delta.shape[0] != len(self.codes):
                raise InputError(
                    f"The deltas of layer {layer} have shape {list(delta.shape)}; "
                    f"expected [{len(self.codes)}, C, h, w]."
                )
        if self.residual is not None and (self.residual.ndim != 4 or len(self.residual) != len(self.codes)):
            raise InputError(
                f"The residual of an adaptation of {len(self.codes)} photos must be [B, 3, H, W]; got "
                f"{list(self.residual.shape)}."
            )
        if self.guide is not None and not 0 <= self.guide < min(self.deltas, default=self.guide + 1):
            raise InputError(f"Layer {self.guide} cannot guide deltas of the layers {list(self.deltas)}.")

    def __len__(self) -> int:
        """B, the number of photos."""
        return self.codes.shape[0]

    @property
    def local(self) -> bool:
        """True where anything of it belongs to places of single photos."""
        return bool(self.deltas) or self.residual is not None

    def tensors(self) -> dict[str, Tensor]:
        """Return all that it adds, and the codes, under names."""
        deltas = {f"delta.{layer}": delta for layer, delta in self.deltas.items()}
        weights = {f"weight.{name}": change for name, change in self.weights.items()}
        residual = {} if self.residual is None else {"residual": self.residual}
        return {"codes": self.codes, **deltas, **residual, **weights}


def with_adaptation(generator, adaptation: Adaptation):
    """Put an adaptation on a generator, in place of any it had; weights and W space are shared, nothing is copied.

    Args:
        generator: a `GanGenerator`, plain or adapted.
        adaptation: of photos, made with a generator of the same family.

    Returns:
        The adapted `GanGenerator`.

    Raises:
        InputError: an adaptation of another family, or one that does not fit the network's layers.
    """
    base = without_adaptation(generator).network
    generator.check_latent(adaptation.codes, adaptation.family, "The adaptation")
    _check_deltas(generator, base, adaptation)
    _check_weights(generator, base, adaptation)
    return replace(generator, network=AdaptedNetwork(base, adaptation), adaptation=adaptation)


def _check_deltas(generator, base: GeneratorNetwork, adaptation: Adaptation) -> None:
    """Raise InputError for deltas, colours or a guide that the layers do not fit."""
    count = len(base.synthesis.layers)
    for layer, delta in adaptation.deltas.items():
        size = base.synthesis.layer_size(layer) if 0 <= layer < count else f"only layers 0 to {count - 1}"
        if tuple(delta.shape[1:]) != size:
            raise InputError(
                f"The adaptation changes layer {layer} with deltas {tuple(delta.shape[1:])}; '{generator.name}' has "
                f"{size} there. It was made with another generator."
            )
    expected = (base.config.img_channels, *generator.resolution)
    if adaptation.residual is not None and tuple(adaptation.residual.shape[1:]) != expected:
        raise InputError(
            f"The adaptation adds colours of shape {tuple(adaptation.residual.shape[1:])}; '{generator.name}' draws "
            f"{expected}. It was made with another generator."
        )
    if adaptation.guide is not None and adaptation.guide >= count:
        raise InputError(
            f"The adaptation is guided by layer {adaptation.guide}; '{generator.name}' has {count} layers."
        )


def _check_weights(generator, base: GeneratorNetwork, adaptation: Adaptation) -> None:
    """Raise InputError for changes of weights that the network does not have."""
    known = dict(base.synthesis.named_parameters())
    for name, change in adaptation.weights.items():
        if name not in known or known[name].shape != change.shape:
            raise InputError(
                f"The adaptation changes a weight '{name}' of shape {tuple(change.shape)}, which '{generator.name}' "
                "does not have. It was made with another generator."
            )


def without_adaptation(generator):
    """Return the plain generator below an adapted one; itself where it is plain."""
    base = generator.network.base
    return generator if base is generator.network else replace(generator, network=base, adaptation=None)


def photos_of(codes: Tensor, anchors: Tensor) -> Tensor:
    """Find whose photo each code is, edited or not.

    Rows that an edit left alone tell. Without one, or where photos have those rows in common, as many codes as photos
    are taken in the photos' order; else the nearest counts (over rows without squaring, so that a strong edit of a few
    rows does not outweigh the others).

    Args:
        codes: [n, L, D].
        anchors: [B, L, D], the codes of the photos.

    Returns:
        [n], indices of photos.
    """
    if len(anchors) == 1:
        return torch.zeros(len(codes), dtype=torch.long, device=codes.device)
    codes = codes.detach().float()
    anchors = anchors.to(codes)
    rows, anchor_rows = rearrange(codes, "n l d -> l n d"), rearrange(anchors, "b l d -> l b d")
    distance = torch.cdist(rows, anchor_rows, compute_mode="donot_use_mm_for_euclid_dist")  # [L, n, B]
    untouched = (distance <= 1e-4 * anchors.norm(dim=2).mean()).sum(dim=0)  # [n, B], rows
    possible = untouched == untouched.amax(dim=1, keepdim=True)
    nearest = distance.sum(dim=0).masked_fill(~possible, float("inf")).argmin(dim=1)
    if len(codes) != len(anchors):
        return nearest
    return torch.where(possible.diagonal(), torch.arange(len(codes), device=codes.device), nearest)


class DeltaHook:
    """The synthesis hook that multiplies features by an adaptation's 1 + delta, before the hook of the caller.

    One for each run. What the caller's hook changes wins over what the photo had there. A hook that says where it
    paints, by its ``mask``, has the photo's details left out exactly there; of any other, the guide's features tell
    what has become of the photo.
    """

    def __init__(
        self,
        deltas: Mapping[int, Tensor],  # layer -> [B, C, h, w], a row for each picture of the run
        guide: int | None = None,  # the layer whose features give the flow, if it is not known
        anchor: Tensor | None = None,  # [B, C, h, w], the photos' features there
        hook: SynthesisHook | None = None,
        flow: FeatureFlow | None = None,  # None: deltas stay in place
        box: CropBox | None = None,  # the part of the picture that the run draws
        margins: Mapping[int, int] | None = None,  # layer -> cells beyond the picture on each side; None: none
    ) -> None:
        self.margins = margins or {}
        self.deltas, self.guide, self.anchor, self.hook, self.flow = deltas, guide, anchor, hook, flow
        self.box = box
        self.mask = None if hook is None else hook.mask
        self.layers = None if hook is not None and hook.layers is None else self._layers()

    def _layers(self) -> set[int]:
        guide = () if self.guide is None else (self.guide,)
        return {*self.deltas, *guide, *(() if self.hook is None else self.hook.layers)}

    def update_flow(self, features: Tensor) -> None:
        """Follow the photos' features of the guide layer into those of this run, [B, C, h, w]."""
        margin = self.margins.get(self.guide, 0)
        self.flow = feature_flow(without_margin(self.anchor.to(features), margin), without_margin(features, margin))

    def carry(self, values: Tensor, margin: int = 0) -> Tensor:
        """Move what belongs to places of the photos to where it is in this run.

        Args:
            values: [B, C, H, W], deltas or colours.
            margin: of their cells, beyond the picture on each side.

        Returns:
            [B, C, h, w] of the part that is drawn; 0 where the caller's hook paints.
        """
        size = tuple(values.shape[2:])
        values = crop(values if self.flow is None else self.flow.carry(values, margin), self.box)
        if self.mask is None:
            return values
        return values * (1 - crop(F.adaptive_avg_pool2d(self.mask.to(values), size), self.box))

    def __call__(self, layer: int, features: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, h, w]."""
        if layer in self.deltas:
            delta = self.deltas[layer].to(features.device, torch.float32)
            features = features * (1 + self.carry(delta, self.margins.get(layer, 0)).to(features))
        features = hooked(self.hook, layer, features)
        if layer == self.guide and self.anchor is not None:
            self.update_flow(features)
        return features


class AdaptedNetwork(nn.Module):
    """``base`` with an adaptation composed into its synthesis; a `GeneratorNetwork` as the base is."""

    def __init__(self, base: GeneratorNetwork, adaptation: Adaptation) -> None:
        super().__init__()
        self.config = base.config
        self.mapping = base.mapping
        self.synthesis = AdaptedSynthesis(base.synthesis, adaptation)
        self.__dict__["base"] = base  # not a submodule: its parts are registered above

    def photos_of(self, codes: Tensor) -> Tensor:
        """Return whose photo each code is, [n, L, D] -> [n]; a wrong shape is left for the synthesis to refuse."""
        anchors = self.synthesis.adaptation.codes
        fits = codes.ndim == 3 and codes.shape[1:] == anchors.shape[1:]
        return photos_of(codes, anchors) if fits else torch.zeros(len(codes), dtype=torch.long)


class AdaptedSynthesis(nn.Module):
    """The base's synthesis with deltas and changed weights; same arguments, same results."""

    def __init__(self, inner: nn.Module, adaptation: Adaptation) -> None:
        super().__init__()
        self.inner = inner
        self.adaptation = adaptation
        self._cache: dict[str, object] = {}

    @property
    def config(self):
        """The base's dimensions."""
        return self.inner.config

    @property
    def layers(self) -> list[tuple[int, str]]:
        """The base's layers."""
        return self.inner.layers

    def layer_size(self, layer: int) -> tuple[int, int, int]:
        """Return (channels, height, width) of a layer's features."""
        return self.inner.layer_size(layer)

    def margin(self, layer: int) -> int:
        """Return how many cells of a layer lie beyond the picture on each side."""
        return self.inner.margin(layer)

    def style(self, row: int) -> nn.Module:
        """Return what a row of W+ feeds first, with the base's own weights."""
        return self.inner.style(row)

    def block(self, index: int) -> nn.Module:
        """Return a block of the base, with the base's own weights."""
        return self.inner.block(index)

    def conv(self, layer: int) -> nn.Module:
        """Return the module of a layer, with the base's own weights."""
        return self.inner.conv(layer)

    def forward(self, ws: Tensor, options: SynthesisOptions | None = None) -> SynthesisResult:
        """Draw codes [n, L, D] as the base does; what the adaptation adds is in its place in resumed runs too."""
        options = options or SynthesisOptions()
        if not self.adaptation.local or ws.ndim != 3 or ws.shape[1:] != self.adaptation.codes.shape[1:]:
            return self.run(ws, options)  # a wrong latent is refused by the inner synthesis, in its own words
        photos = options.photos
        photos = photos_of(ws, self.adaptation.codes) if photos is None else photos.to(ws.device)
        hook = self._delta_hook(ws, photos, options)
        result = self.run(ws, replace(options, hook=hook))
        image, state = result.image, result.state
        if image is not None and self.adaptation.residual is not None:
            residual = hook.carry(self._on("residual", ws.device)[photos])
            if residual.shape[2:] != image.shape[2:]:  # a run that stopped at a smaller size
                residual = F.adaptive_avg_pool2d(residual, tuple(image.shape[2:]))
            image = image + residual.to(image)
        if state is not None:
            state = replace(state, flow=hook.flow)
        return SynthesisResult(image, result.features, state)

    def run(self, ws: Tensor, options: SynthesisOptions) -> SynthesisResult:
        """Draw codes with the adaptation's weights, without its deltas and residual."""
        weights = self._weights()
        if not weights:
            return self.inner(ws, options)
        return torch.func.functional_call(self.inner, weights, (ws, options))

    def _delta_hook(self, ws: Tensor, photos: Tensor, options: SynthesisOptions) -> DeltaHook:
        """Return the hook of one run, with the flow of the details or the features to find it from."""
        guide, resume, hook = self.adaptation.guide, options.resume, options.hook
        deltas = {layer: self._on(f"delta.{layer}", ws.device)[photos] for layer in self.adaptation.deltas}
        flow = None if resume is None else resume.flow
        if guide is None or flow is not None:
            return DeltaHook(deltas, hook=hook, flow=flow, box=options.box, margins=self._margins())
        anchor = self._anchor(ws, photos, options)
        # The guide's features of this run: never made again after that layer, and never all of them in a crop.
        unseen = resume is not None and (resume.layer > guide or resume.box is not None)
        if unseen or (hook is not None and hook.mask is not None):
            flow = self._flow_of(ws, photos, anchor, options)
            return DeltaHook(deltas, hook=hook, flow=flow, box=options.box, margins=self._margins())
        delta_hook = DeltaHook(deltas, guide, anchor, hook, margins=self._margins())
        if resume is not None and resume.layer == guide:
            delta_hook.update_flow(resume.features)
        return delta_hook

    def _flow_of(self, ws: Tensor, photos: Tensor, anchor: Tensor, options: SynthesisOptions) -> FeatureFlow | None:
        """Return where the codes alone have moved the photos' features; None where they are the photos' own."""
        known = self.adaptation.codes.to(ws)[photos]
        if torch.allclose(ws, known, atol=1e-5, rtol=1e-4):
            return None
        with torch.no_grad():
            features = self._guide_features(ws, options.noise, options.first_index)
            margin = self.margin(self.adaptation.guide)
            return feature_flow(without_margin(anchor, margin), without_margin(features, margin))

    def _margins(self) -> dict[int, int]:
        """Return the margins of the layers with deltas, and of the guide."""
        guide = () if self.adaptation.guide is None else (self.adaptation.guide,)
        return {layer: self.margin(layer) for layer in {*self.adaptation.deltas, *guide}}

    def _guide_features(self, codes: Tensor, noise: str | int, first_index: int = 0) -> Tensor:
        """[n, L, D] -> [n, C, h, w]: the features of the guide layer, without deltas."""
        options = SynthesisOptions(noise=noise, stop_layer=self.adaptation.guide, first_index=first_index)
        return self.run(codes, options).state.features

    def _anchor(self, ws: Tensor, photos: Tensor, options: SynthesisOptions) -> Tensor:
        """[n, C, h, w]: the photos' features at the guide layer, under the same noise as the run."""
        noise = options.noise
        with no_inference_mode():
            codes = self.adaptation.codes.to(ws.device, torch.float32)
            if noise not in ("constant", "none"):
                noise = "constant" if isinstance(noise, str) else noise
                return self._guide_features(codes[photos], noise, options.first_index)
            key = f"anchor {noise} {ws.device}"
            if key not in self._cache:
                features = [self._guide_features(batch, noise) for batch in codes.split(_AT_ONCE)]
                self._cache[key] = torch.cat(features)
            return self._cache[key][photos]

    def _weights(self) -> dict[str, Tensor]:
        """Return the changed parameters on the base's device, made once for each device and state of the base."""
        if not self.adaptation.weights:
            return {}
        known = dict(self.inner.named_parameters())
        names = list(self.adaptation.weights)
        state = [(known[name].device, known[name].data_ptr(), known[name].dtype) for name in names]
        if self._cache.get("weights of") != state:
            with no_inference_mode():
                changed = {name: known[name] + self.adaptation.weights[name].to(known[name]) for name in names}
            self._cache.update({"weights": changed, "weights of": state})
        return self._cache["weights"]

    def _on(self, name: str, device: torch.device) -> Tensor:
        """Return a tensor of the adaptation on a device, moved there once."""
        tensor = self.adaptation.tensors()[name]
        if tensor.device == device:
            return tensor
        key = f"{name} {device}"
        if key not in self._cache:
            with no_inference_mode():
                self._cache[key] = tensor.to(device)
        return self._cache[key]
