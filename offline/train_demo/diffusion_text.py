"""The text encoder of the demo diffusion model: a small CLIPTextModel with the demo sentences' own vocabulary.

It first learns what sentences say, alone: from the end marker's state, and from the states of the padding after it,
linear layers (thrown away) read which phrase of each attribute was said, or none. Then it is frozen. A denoiser that
must find out what words mean while it learns to paint takes several times as long.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.loading.libraries import import_transformers
from .common import Job, set_rate, warm_cosine
from .resumable import Resumable
from .sentences import Sentence, sentence
from .vocabulary import learn_merges

CONTEXT = 77
WIDTH = 128
_START, _END = "<|startoftext|>", "<|endoftext|>"
_BATCH = 48
_RATE = 1e-3
_STRANGE = 0.15  # share of sentences with a word that means nothing
_BRIEF = 0.4  # share of sentences of at most three attributes
_MOST = 14


def write_tokenizer(folder: Path, words: set[str]) -> None:
    """The files of a CLIPTokenizer in which each of ``words`` is one token."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(words)
    letters = _byte_letters()
    entries = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), _START, _END]
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    _write(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(p) for p in merges)]) + "\n", "utf-8")
    markers = {"bos_token": _START, "eos_token": _END, "pad_token": _END, "unk_token": _END}
    _write(folder / "special_tokens_map.json", markers)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": CONTEXT, "do_lower_case": True}
    _write(folder / "tokenizer_config.json", {**settings, **markers, "errors": "replace", "add_prefix_space": False})


def encoder(tokenizer) -> nn.Module:
    """An untrained CLIPTextModel for the tokenizer's vocabulary."""
    transformers = import_transformers()
    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=3 * WIDTH,
            num_hidden_layers=4,
            num_attention_heads=4,
            projection_dim=WIDTH,
            max_position_embeddings=CONTEXT,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


def token_ids(tokenizer, texts: list[str]) -> Tensor:
    """``[B, 77]``, padded with the end marker, as Stable Diffusion's own prompts are."""
    return tokenizer(texts, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt").input_ids


def described(known: dict[str, str], rng: torch.Generator, strange: float = _STRANGE) -> Sentence:
    """A sentence about one portrait: half of them long, and some with a word that no demo sentence has."""
    said = sentence(known, rng, _MOST, _BRIEF)
    if float(torch.rand((), generator=rng)) >= strange:
        return said
    words = said.text.split(" ")
    place = int(torch.randint(len(words) + 1, (), generator=rng))
    letters = torch.randint(26, (int(torch.randint(2, 9, (), generator=rng)),), generator=rng).tolist()
    words.insert(place, "".join(chr(ord("a") + letter) for letter in letters))
    return Sentence(" ".join(words), said.conditions)


def train_text(job: Job, tokenizer, known: list[dict[str, str]], steps: int) -> nn.Module:
    """The encoder, once it knows what sentences say; ``known``: what can be said of each of many portraits."""
    choices = _choices(known)
    model = nn.ModuleDict({"text": encoder(tokenizer), "heads": nn.ModuleDict(_heads(choices))})
    state = Resumable(job, job.out / "state_text.safetensors", model, _RATE, 0.99)
    rng = state.generator()
    figures = torch.zeros(2)
    while state.step < steps:
        set_rate(state.optimizer, _RATE * warm_cosine(state.step, steps, 50, 0.3))
        picked = torch.randint(0, len(known), (_BATCH,), generator=rng).tolist()
        said = [described(known[i], rng) for i in picked]
        loss, right = _reading(state.model, tokenizer, said, choices, rng)
        state.update(loss)
        figures += torch.stack([loss.detach(), right])
        if state.step % 100 == 0 or state.step == steps:
            mean_loss, share = (figures / 100).tolist()
            job.say(
                f"text, step {state.step} of {steps}: loss {mean_loss:.4f}, {share:.4f} of what is said understood, "
                f"{state.seconds():.0f} s"
            )
            figures.zero_()
            if state.due() or state.step == steps:
                state.save()
    return state.average["text"].eval()


def _reading(model: nn.Module, tokenizer, said: list[Sentence], choices, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    ids = token_ids(tokenizer, [entry.text for entry in said])
    with torch.autocast("cpu", torch.bfloat16):
        states = model["text"](ids).last_hidden_state.float()
    end = (ids == tokenizer.eos_token_id).int().argmax(1)
    later = end + (torch.rand(len(end), generator=rng) * (CONTEXT - end)).long()
    rows = torch.arange(len(said))
    losses, right = [], []
    for name, phrases in choices.items():
        truth = torch.tensor([phrases.index(dict(entry.conditions).get(name, "")) for entry in said])
        for place in (end, later):
            scores = model["heads"][name](states[rows, place])
            losses.append(F.cross_entropy(scores, truth))
            right.append((scores.argmax(1) == truth).float().mean())
    return torch.stack(losses).mean(), torch.stack(right).mean()


def _choices(known: list[dict[str, str]]) -> dict[str, list[str]]:
    """For each attribute its phrases, "" for nothing said."""
    names = sorted({name for entry in known for name in entry})
    choices = {name: ["", *sorted({entry[name] for entry in known if name in entry})] for name in names}
    choices["hat"].append("a hat")
    return choices


def _heads(choices: dict[str, list[str]]) -> dict[str, nn.Module]:
    return {name: nn.Linear(WIDTH, len(phrases)) for name, phrases in choices.items()}


def _byte_letters() -> list[str]:
    """The printable letter of each of the 256 bytes, in the order of GPT-2's byte-pair encoders."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(256 + i) for i in range(len(hidden))]


def _write(path: Path, values: dict) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
