"""An image-specific generator: a frozen network, and the little that one photo (or a batch of them) changes in it.

GANPaint (2005.07727) multiplies the features of the last layers by 1 + delta so that the generator paints a photo with
all that it could not say. Here the deltas are a value of their own, and a wrapper composes them into the synthesis, so
that a generator with an adaptation goes wherever a generator goes. A delta that is fixed in place leaves ghosts when an
edit moves what it belongs to; so it follows the features of the last layer before it, and fades where they are new.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..inference import no_inference_mode
from .feature_flow import FeatureFlow, feature_flow
from .layer_blend import LayerBlend
from .stylegan2 import LayerState, SynthesisResult
from .window import Window, part_of

__all__ = [
    "AdaptedNetwork",
    "AdaptedState",
    "Adaptation",
    "Composition",
    "photos_of",
    "with_adaptation",
    "without_adaptation",
]

Hook = Callable[[int, Tensor], Tensor]
_AT_ONCE = 8  # photos whose features are made in one pass


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What B photos add to a generator.

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
        for name, tensor in self.tensors().items():
            if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
                raise InputError(f"The adaptation holds values of '{name}' that are not finite numbers.")
        names = tuple(str(name) for name in self.names) or tuple(f"#{k + 1}" for k in range(len(self.codes)))
        if len(names) != len(self.codes):
            raise InputError(f"An adaptation of {len(self.codes)} photos needs as many names; got {len(names)}.")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "deltas", dict(sorted(self.deltas.items())))

    def __len__(self) -> int:
        """B, the number of photos."""
        return self.codes.shape[0]

    @property
    def local(self) -> bool:
        """Whether anything of it belongs to places of single photos."""
        return bool(self.deltas) or self.residual is not None

    def tensors(self) -> dict[str, Tensor]:
        """All that it adds, and the codes, under names."""
        deltas = {f"delta.{layer}": delta for layer, delta in self.deltas.items()}
        weights = {f"weight.{name}": change for name, change in self.weights.items()}
        residual = {} if self.residual is None else {"residual": self.residual}
        return {"codes": self.codes, **deltas, **residual, **weights}


@dataclass(frozen=True, eq=False)
class AdaptedState(LayerState):
    """Where an adapted synthesis can start again, with what is known about where the details have gone."""

    flow: FeatureFlow | None = None


def with_adaptation(generator, adaptation: Adaptation):
    """The generator with ``adaptation`` in place of any it had; weights and W space are shared, nothing is copied.

    Raises InputError for an adaptation of another family, or one that does not fit the network's layers.
    """
    base = without_adaptation(generator).network
    generator.check_latent(adaptation.codes, adaptation.family, "The adaptation")
    count = len(base.synthesis.layers)
    for layer, delta in adaptation.deltas.items():
        if not 0 <= layer < count or tuple(delta.shape[1:]) != base.synthesis.layer_size(layer):
            there = f"{base.synthesis.layer_size(layer)}" if 0 <= layer < count else f"only layers 0 to {count - 1}"
            raise InputError(
                f"The adaptation changes layer {layer} with deltas {tuple(delta.shape[1:])}; '{generator.name}' has "
                f"{there} there. It was made with another generator."
            )
    expected = (base.config.img_channels if hasattr(base.config, "img_channels") else 3, *generator.resolution)
    if adaptation.residual is not None and tuple(adaptation.residual.shape[1:]) != expected:
        raise InputError(
            f"The adaptation adds colours of shape {tuple(adaptation.residual.shape[1:])}; '{generator.name}' draws "
            f"{expected}. It was made with another generator."
        )
    if adaptation.guide is not None and adaptation.guide >= count:
        raise InputError(
            f"The adaptation is guided by layer {adaptation.guide}; '{generator.name}' has {count} layers."
        )
    known = dict(base.synthesis.named_parameters())
    for name, change in adaptation.weights.items():
        if name not in known or known[name].shape != change.shape:
            raise InputError(
                f"The adaptation changes a weight '{name}' of shape {tuple(change.shape)}, which '{generator.name}' "
                "does not have. It was made with another generator."
            )
    return replace(generator, network=AdaptedNetwork(base, adaptation), adaptation=adaptation)


def without_adaptation(generator):
    """The plain generator below; itself where it is plain."""
    base = getattr(generator.network, "base", generator.network)
    return generator if base is generator.network else replace(generator, network=base, adaptation=None)


def photos_of(codes: Tensor, anchors: Tensor) -> Tensor:
    """[n, L, D], [B, L, D] -> [n]: whose photo each code is, edited or not.

    Rows that an edit left alone tell. Without one, or where photos have those rows in common, as many codes as photos
    are taken in the photos' order; else the nearest counts (over rows without squaring, so that a strong edit of a few
    rows does not outweigh the others).
    """
    if len(anchors) == 1:
        return torch.zeros(len(codes), dtype=torch.long, device=codes.device)
    codes = codes.detach().float()
    anchors = anchors.to(codes)
    apart = torch.cdist(codes.transpose(0, 1), anchors.transpose(0, 1), compute_mode="donot_use_mm_for_euclid_dist")
    untouched = (apart <= 1e-4 * anchors.norm(dim=2).mean()).sum(dim=0)  # [n, B], rows
    possible = untouched == untouched.amax(dim=1, keepdim=True)
    nearest = apart.sum(dim=0).masked_fill(~possible, float("inf")).argmin(dim=1)
    if len(codes) != len(anchors):
        return nearest
    return torch.where(possible.diagonal(), torch.arange(len(codes), device=codes.device), nearest)


class Composition:
    """The hook that brings deltas into a synthesis, before the hook of the caller; one for each run.

    What the caller's hook changes wins over what the photo had there. A hook that says where it paints, by an
    attribute ``mask`` [B or 1, 1, H, W], has the photo's details left out exactly there; of any other, the guide's
    features tell what has become of the photo.
    """

    def __init__(
        self,
        deltas: Mapping[int, Tensor],  # layer -> [B, C, h, w], a row for each picture of the run
        guide: int | None = None,  # the layer to look at, if the flow is not known
        anchor: Tensor | None = None,  # [B, C, h, w], the photos' features there
        hook: Hook | None = None,
        flow: FeatureFlow | None = None,  # None: deltas stay in place
        window: Window | None = None,  # the part of the picture that the run draws
    ) -> None:
        self.deltas, self.guide, self.anchor, self.hook, self.flow = deltas, guide, anchor, hook, flow
        self.window = window
        self.painted: Tensor | None = getattr(hook, "mask", None)

    def look(self, features: Tensor) -> None:
        """Compare the features of the guide layer with the photos'."""
        self.flow = feature_flow(self.anchor.to(features), features)

    def carry(self, values: Tensor) -> Tensor:
        """What belongs to places of the photos, [B, C, h, w], where it is in this run, of the part that is drawn."""
        size = tuple(values.shape[2:])
        values = part_of(values if self.flow is None else self.flow.carry(values), self.window)
        if self.painted is None:
            return values
        return values * (1 - part_of(F.adaptive_avg_pool2d(self.painted.to(values), size), self.window))

    def __call__(self, layer: int, x: Tensor) -> Tensor:
        if layer in self.deltas:
            x = x * (1 + self.carry(self.deltas[layer].to(x.device, torch.float32)).to(x))
        if self.hook is not None:
            x = self.hook(layer, x)
        if layer == self.guide and self.anchor is not None:
            self.look(x)
        return x


class AdaptedNetwork(nn.Module):
    """``base`` with an adaptation composed into its synthesis; has all that a generator's network has."""

    def __init__(self, base: nn.Module, adaptation: Adaptation) -> None:
        super().__init__()
        self.config = base.config
        self.mapping = base.mapping
        self.synthesis = AdaptedSynthesis(base.synthesis, adaptation)
        self.__dict__["base"] = base  # not a submodule: its parts are registered above

    def photos_of(self, codes: Tensor) -> Tensor:
        """[n]: which photo each code [n, L, D] belongs to; a wrong shape is left for the synthesis to refuse."""
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

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)  # layers, layer_size, config, ...

    def forward(
        self,
        ws: Tensor,
        noise: str | int = "constant",
        stop_resolution: int | None = None,
        want_features: Collection[int] = (),
        stop_layer: int | None = None,
        resume: LayerState | None = None,
        hook: Hook | None = None,
        dtype: torch.dtype | None = None,
        first_index: int = 0,
        photos: Tensor | None = None,  # [n] whose photo each code is; None: as `photos_of` sees it
        blend: LayerBlend | None = None,  # a second set of codes, and where each row of it shows
    ) -> SynthesisResult:
        """As the base's; what the adaptation adds is where it belongs also in a run that resumes."""
        blends = () if blend is None else (blend,)  # a network with one row of codes knows no blending
        if not self.adaptation.local or ws.ndim != 3 or ws.shape[1:] != self.adaptation.codes.shape[1:]:
            # A wrong latent is refused by the inner synthesis, in its own words.
            return self.run(
                ws, noise, stop_resolution, want_features, stop_layer, resume, hook, dtype, first_index, *blends
            )
        photos = photos_of(ws, self.adaptation.codes) if photos is None else photos.to(ws.device)
        composition = self._composition(ws, photos, noise, resume, hook, first_index)
        result = self.run(
            ws, noise, stop_resolution, want_features, stop_layer, resume, composition, dtype, first_index, *blends
        )
        image, state, flow = result.image, result.state, composition.flow
        if image is not None and self.adaptation.residual is not None:
            residual = composition.carry(self._on("residual", ws.device)[photos])
            if residual.shape[2:] != image.shape[2:]:  # a run that stopped at a smaller size
                residual = F.adaptive_avg_pool2d(residual, tuple(image.shape[2:]))
            image = image + residual.to(image)
        if state is not None:
            state = AdaptedState(state.layer, state.features, state.image, state.residual, state.window, flow)
        return SynthesisResult(image, result.features, state)

    def run(self, *arguments) -> SynthesisResult:
        """The inner synthesis with the adaptation's weights, without its deltas and residual."""
        weights = self._weights()
        return torch.func.functional_call(self.inner, weights, arguments) if weights else self.inner(*arguments)

    def _composition(self, ws, photos, noise, resume, hook, first_index) -> Composition:
        adaptation = self.adaptation
        deltas = {layer: self._on(f"delta.{layer}", ws.device)[photos] for layer in adaptation.deltas}
        guide, flow = adaptation.guide, getattr(resume, "flow", None)
        window = None if resume is None else resume.window
        if guide is None or flow is not None:
            return Composition(deltas, hook=hook, flow=flow, window=window)
        anchor = self._anchor(photos, noise, first_index, ws)
        passed = resume is not None and (resume.layer > guide or window is not None)  # a part is no picture to look at
        if getattr(hook, "mask", None) is not None or passed:
            flow = self._flow_of(ws, photos, anchor, noise, first_index)
            return Composition(deltas, hook=hook, flow=flow, window=window)
        composition = Composition(deltas, guide, anchor, hook)
        if resume is not None and resume.layer == guide:
            composition.look(resume.features)
        return composition

    def _flow_of(self, ws, photos, anchor, noise, first_index) -> FeatureFlow | None:
        """Where the codes alone have moved the photos' features; None where they are the photos' own."""
        known = self.adaptation.codes.to(ws)[photos]
        if torch.allclose(ws, known, atol=1e-5, rtol=1e-4):
            return None
        with torch.no_grad():
            guide = self.adaptation.guide
            return feature_flow(anchor, self.run(ws, noise, None, (), guide, *(None,) * 3, first_index).state.features)

    def _anchor(self, photos: Tensor, noise: str | int, first_index: int, ws: Tensor) -> Tensor:
        """[n, C, h, w]: the photos' features at the guide layer, under the same noise as the run."""
        guide = self.adaptation.guide
        with no_inference_mode():
            codes = self.adaptation.codes.to(ws.device, torch.float32)
            if noise not in ("constant", "none"):
                same = "constant" if isinstance(noise, str) else noise
                return self.run(codes[photos], same, None, (), guide, None, None, None, first_index).state.features
            key = f"anchor {noise} {ws.device}"
            if key not in self._cache:
                parts = [self.run(part, noise, None, (), guide).state.features for part in codes.split(_AT_ONCE)]
                self._cache[key] = torch.cat(parts)
            return self._cache[key][photos]

    def _weights(self) -> dict[str, Tensor]:
        """Changed parameters on the device of the base, made once for each place and state of the base."""
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
        tensor = self.adaptation.tensors()[name]
        if tensor.device == device:
            return tensor
        key = f"{name} {device}"
        if key not in self._cache:
            with no_inference_mode():
                self._cache[key] = tensor.to(device)
        return self._cache[key]
