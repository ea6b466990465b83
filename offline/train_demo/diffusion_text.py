"""Text encoder of the demo diffusion model: a small CLIPTextModel with the demo sentences' own vocabulary.

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
from .common import TrainingRun, set_rate, warm_cosine
from .resumable import Resumable
from .sentences import Sentence, random_sentence
from .vocabulary import learn_merges

CONTEXT = 77
WIDTH = 128
_START, _END = "<|startoftext|>", "<|endoftext|>"
_BATCH = 48
_RATE = 1e-3
_STRANGE = 0.15  # share of sentences with a word that means nothing
_BRIEF = 0.4  # share of sentences of at most three attributes
_LONGEST = 14  # attributes in one sentence


def write_tokenizer(folder: Path, words: set[str]) -> None:
    """Write the files of a CLIPTokenizer in which each of ``words`` is one token."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(words)
    letters = _byte_letters()
    entries = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), _START, _END]
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    _write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(p) for p in merges)]) + "\n", "utf-8")
    markers = {"bos_token": _START, "eos_token": _END, "pad_token": _END, "unk_token": _END}
    _write_json(folder / "special_tokens_map.json", markers)
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": CONTEXT, "do_lower_case": True}
    _write_json(
        folder / "tokenizer_config.json", {**settings, **markers, "errors": "replace", "add_prefix_space": False}
    )


def build_text_encoder(tokenizer) -> nn.Module:
    """Build an untrained CLIPTextModel for the tokenizer's vocabulary."""
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
    """Tokenize B texts to ``[B, 77]``, padded with the end marker, as Stable Diffusion's own prompts are."""
    return tokenizer(texts, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt").input_ids


def random_description(attributes: dict[str, str], rng: torch.Generator, strange: float = _STRANGE) -> Sentence:
    """Draw a sentence about one portrait, with probability ``strange`` holding a word that no demo sentence has.

    attributes: attribute -> phrase.
    """
    sentence = random_sentence(attributes, rng, _LONGEST, _BRIEF)
    if float(torch.rand((), generator=rng)) >= strange:
        return sentence
    words = sentence.text.split(" ")
    position = int(torch.randint(len(words) + 1, (), generator=rng))
    letters = torch.randint(26, (int(torch.randint(2, 9, (), generator=rng)),), generator=rng).tolist()
    words.insert(position, "".join(chr(ord("a") + letter) for letter in letters))
    return Sentence(" ".join(words), sentence.conditions)


def train_text(run: TrainingRun, tokenizer, attributes: list[dict[str, str]], steps: int) -> nn.Module:
    """Train the encoder to classify what sentences say; ``attributes``: attribute -> phrase, of many portraits."""
    choices = _choices(attributes)
    model = nn.ModuleDict({"text": build_text_encoder(tokenizer), "heads": nn.ModuleDict(_heads(choices))})
    state = Resumable(run, run.out / "state_text.safetensors", model, _RATE, 0.99)
    rng = state.generator()
    figures = torch.zeros(2)
    while state.step < steps:
        set_rate(state.optimizer, _RATE * warm_cosine(state.step, steps, 50, 0.3))
        index = torch.randint(0, len(attributes), (_BATCH,), generator=rng).tolist()
        sentences = [random_description(attributes[i], rng) for i in index]
        loss, accuracy = _reading_loss(state.model, tokenizer, sentences, choices, rng)
        state.update(loss)
        figures += torch.stack([loss.detach(), accuracy])
        if state.step % 100 == 0 or state.step == steps:
            mean_loss, share = (figures / 100).tolist()
            run.say(
                f"text, step {state.step} of {steps}: loss {mean_loss:.4f}, {share:.4f} of what is said understood, "
                f"{state.seconds():.0f} s"
            )
            figures.zero_()
            if state.due() or state.step == steps:
                state.save()
    return state.average["text"].eval()


def _reading_loss(
    model: nn.Module, tokenizer, sentences: list[Sentence], choices: dict[str, list[str]], rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy and the accuracy of every attribute's phrase, from the end marker and from padding."""
    ids = token_ids(tokenizer, [sentence.text for sentence in sentences])
    with torch.autocast("cpu", torch.bfloat16):
        states = model["text"](ids).last_hidden_state.float()
    end = (ids == tokenizer.eos_token_id).int().argmax(1)
    padding = end + (torch.rand(len(end), generator=rng) * (CONTEXT - end)).long()
    rows = torch.arange(len(sentences))
    losses, accuracies = [], []
    for name, phrases in choices.items():
        truth = torch.tensor([phrases.index(dict(sentence.conditions).get(name, "")) for sentence in sentences])
        for position in (end, padding):
            scores = model["heads"][name](states[rows, position])
            losses.append(F.cross_entropy(scores, truth))
            accuracies.append((scores.argmax(1) == truth).float().mean())
    return torch.stack(losses).mean(), torch.stack(accuracies).mean()


def _choices(attributes: list[dict[str, str]]) -> dict[str, list[str]]:
    """List the phrases of each attribute, "" for nothing said."""
    names = sorted({name for portrait in attributes for name in portrait})
    choices = {name: ["", *sorted({phrases[name] for phrases in attributes if name in phrases})] for name in names}
    choices["hat"].append("a hat")
    return choices


def _heads(choices: dict[str, list[str]]) -> dict[str, nn.Module]:
    return {name: nn.Linear(WIDTH, len(phrases)) for name, phrases in choices.items()}


def _byte_letters() -> list[str]:
    """Return the printable letter of each of the 256 bytes, in the order of GPT-2's byte-pair encoders."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(hidden))]


def _write_json(path: Path, values: dict) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
