"""The face parser against its definition in double precision, as a file, and read from its published names."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from semantic_edit.models import CheckpointError, InputError
from semantic_edit.models.segmenters.bisenet import FACE_PARTS
from semantic_edit.models.segmenters.files import load_segmenter, save_segmenter


def by_hand(network, pictures: torch.Tensor) -> torch.Tensor:
    """Every step as the paper and its public code order them, on plain tensors by their names."""
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        pad = weight.shape[2] // 2
        patches = F.unfold(x, weight.shape[2], padding=pad, stride=stride)
        sides = [(side + 2 * pad - weight.shape[2]) // stride + 1 for side in x.shape[2:]]
        return (weight.flatten(1) @ patches).reshape(len(x), len(weight), *sides)

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{n}"][:, None, None] for n in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def block(name: str, x: torch.Tensor, kind: tuple[str, str] = ("conv", "bn")) -> torch.Tensor:
        return norm(f"{name}.{kind[1]}", conv(f"{name}.{kind[0]}", x)).clamp(min=0)

    def mean(x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3), keepdim=True)

    def attention(name: str, x: torch.Tensor) -> torch.Tensor:
        x = block(f"{name}.conv", x)
        return x * torch.sigmoid(norm(f"{name}.bn_atten", conv(f"{name}.conv_atten", mean(x))))

    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    colours = torch.tensor([[0.485, 0.229], [0.456, 0.224], [0.406, 0.225]]).double()[None, :, None, None]
    x = (pictures.double() * 0.5 + 0.5 - colours[..., 0]) / colours[..., 1]
    x = norm("cp.resnet.bn1", conv("cp.resnet.conv1", x, 2)).clamp(min=0)
    x = F.pad(x, (1, 1, 1, 1), value=float("-inf")).unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(4, 5))
    maps = []
    for layer in range(1, 5):
        for index in range(2):
            name, stride = f"cp.resnet.layer{layer}.{index}", 2 if layer > 1 and index == 0 else 1
            y = norm(f"{name}.bn1", conv(f"{name}.conv1", x, stride)).clamp(min=0)
            y = norm(f"{name}.bn2", conv(f"{name}.conv2", y))
            if f"{name}.downsample.0.weight" in state:
                x = norm(f"{name}.downsample.1", conv(f"{name}.downsample.0", x, stride))
            x = (x + y).clamp(min=0)
        maps.append(x)
    _, eighth, sixteenth, last = maps
    context = attention("cp.arm32", last) + block("cp.conv_avg", mean(last))
    context = attention("cp.arm16", sixteenth) + block("cp.conv_head32", doubled(context))
    context = block("cp.conv_head16", doubled(context))
    fused = block("ffm.convblk", torch.cat([eighth, context], dim=1))
    weight = torch.sigmoid(conv("ffm.conv2", conv("ffm.conv1", mean(fused)).clamp(min=0)))
    return conv("conv_out.conv_out", block("conv_out.conv", fused + fused * weight))


def pictures(size: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_pictures_are_parsed_as_defined(tiny_segmenter):
    x = pictures(64)
    logits = tiny_segmenter.logits(x)
    expected = by_hand(tiny_segmenter, x)
    assert logits.shape == (2, 19, 8, 8) and float(expected.std()) > 0.1
    assert float((logits - expected).abs().max()) < 5e-5
    assert torch.allclose(tiny_segmenter(x), torch.softmax(expected, dim=1).float(), atol=1e-5)


def test_gradients_reach_the_picture(tiny_segmenter):
    x = pictures(100).requires_grad_(True)  # of any size
    tiny_segmenter(x)[:, 6].mean().backward()
    assert float(x.grad.abs().sum()) > 0


def test_it_is_converted_without_what_only_trains_it(tmp_path, convert, make_segmenter):
    """As face-parsing.PyTorch saves it: counters and two more heads."""
    network = make_segmenter(size=512)
    state = dict(network.state_dict())
    state |= {
        "cp.resnet.bn1.num_batches_tracked": torch.tensor(3),
        "conv_out16.conv_out.weight": torch.ones(19, 4, 1, 1),
    }
    path, said = convert({f"module.{name}": tensor for name, tensor in state.items()}, "79999_iter.pth")
    loaded = load_segmenter(path)
    assert loaded.config.names == FACE_PARTS and "segmenter of 19 parts" in said
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    again = save_segmenter(tmp_path / "again.safetensors", loaded)
    assert load_segmenter(again).config == loaded.config


def test_parts_of_another_number_are_numbered(convert, make_segmenter):
    path, said = convert(
        make_segmenter(names=("a", "b", "c"), size=512).state_dict(), "parser.pth", component="segmenter"
    )
    assert load_segmenter(path).config.names == ("part 0", "part 1", "part 2") and "3 parts without names" in said


@pytest.mark.parametrize("name", ["ffm.conv1.weight", "cp.resnet.layer2.0.conv1.weight", "conv_out.conv_out.weight"])
def test_what_is_no_face_parser_is_named(convert, make_segmenter, name):
    state = {key: tensor for key, tensor in make_segmenter(size=512).state_dict().items() if key != name}
    with pytest.raises(CheckpointError, match=f"not a face parser.*lacks {name}"):
        convert(state, "parser.pth")


def test_other_shapes_are_refused(tiny_segmenter):
    with pytest.raises(InputError, match=r"expected \[B, 3, H, W\]"):
        tiny_segmenter(torch.zeros(1, 1, 64, 64))
