"""The demo world's open_clip model: pictures and short sentences in one space.

A contrastive loss with every match counted (see `sentences`): picture to sentence and sentence to picture, the target
spread evenly over all that hold. Beside it the image tower reads the factors from its embedding, through a linear layer
that is thrown away: sentences alone find hair and background within minutes, and eyes and mouths only much later.
Saved as open_clip saves models, so that open_clip itself can load the folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ...demo.portraits.captions import ATTRIBUTES
from ...demo.portraits.factors import normalised, visible
from ...demo.readers import READER_SIZE
from ...models.loading.torchvision_stubs import allow_declaring
from ...models.scorers.files import CONFIG_NAME
from ...models.scorers.scorer import import_open_clip
from .augment import heavy_disturbance, light_disturbance
from .common import Job, from_bytes, rendered_z, set_rate, warm_cosine
from .sentences import Sentence, matches, sentence, spoken_of
from .vocabulary import learn_merges, write_vocabulary

CONTEXT = 48
VOCABULARY = "words.txt.gz"
BATCH = 96
_STEPS = 1500
_RATE = 2e-3
_READING = 8.0  # weight of reading the factors


def train_scorer(job: Job) -> None:
    """10,000 renders, a fresh sentence for each picture at every step."""
    allow_declaring()
    open_clip = import_open_clip()
    torch.manual_seed(job.seed)
    rng = torch.Generator().manual_seed(job.seed)
    count, held, steps = (192, 96, 2) if job.smoke else (10000, 512, _STEPS)
    factors, images = rendered_z(count + held, READER_SIZE, rng)
    known = spoken_of(factors)
    job.say(f"rendered {count + held} portraits in {job.seconds():.0f} s")
    folder = job.out / "demo_portraits"
    folder.mkdir(exist_ok=True)
    size = write_vocabulary(folder / VOCABULARY, learn_merges(_words(known, rng)))
    config = model_config(size)
    model = open_clip.CLIP(**config).to(memory_format=torch.channels_last)
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(folder / VOCABULARY), context_length=CONTEXT)
    truth, shown = normalised(factors), visible(factors)
    head = nn.Linear(config["embed_dim"], truth.shape[1])
    optimizer = torch.optim.AdamW(_groups(nn.ModuleList([model, head])), _RATE, (0.9, 0.98))
    total = 0.0
    for step in range(steps):
        set_rate(optimizer, _RATE * warm_cosine(step, steps, 60, 0.2))
        index = torch.randint(0, count, (BATCH,), generator=rng).tolist()
        said = [sentence(known[i], rng) for i in index]
        disturb = heavy_disturbance if step % 2 else light_disturbance
        pictures = disturb(from_bytes(images[index]), rng).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            seen, spoken = model.encode_image(pictures), model.encode_text(tokenizer([entry.text for entry in said]))
        read = F.smooth_l1_loss(head(seen.float()), truth[index], beta=0.2, reduction="none")
        loss = contrast(seen.float(), spoken.float(), model.logit_scale.exp(), matches([known[i] for i in index], said))
        loss = loss + _READING * (read * shown[index]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, 4.6)
        total += loss.item()
        if (step + 1) % 100 == 0:
            job.say(f"step {step + 1} of {steps}: loss {total / 100:.3f}, {job.seconds():.0f} s")
            total = 0.0
    model.eval()
    figures = grade(model, tokenizer, from_bytes(images[count:]), known[count:], torch.Generator().manual_seed(1))
    job.say(", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    _save(job, folder / "open_clip_model.safetensors", model, config, figures)


def model_config(vocabulary: int) -> dict:
    """open_clip's model_cfg."""
    return {
        "embed_dim": 128,
        "vision_cfg": {"layers": [1, 2, 2, 1], "width": 20, "image_size": READER_SIZE},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": vocabulary,
            "width": 96,
            "heads": 4,
            "layers": 2,
            "tokenizer_kwargs": {"bpe_path": VOCABULARY},
        },
    }


def contrast(seen: Tensor, said: Tensor, scale: Tensor, holds: Tensor) -> Tensor:
    """Cross-entropy both ways of embeddings [B, E] and [N, E]; ``holds [B, N]``: which sentence is true of what."""
    scores = scale * F.normalize(seen, dim=1) @ F.normalize(said, dim=1).t()
    wanted = holds.float()
    return 0.5 * (_entropy(scores, wanted) + _entropy(scores.t(), wanted.t()))


def _entropy(scores: Tensor, wanted: Tensor) -> Tensor:
    target = wanted / wanted.sum(1, keepdim=True).clamp(min=1)
    return -(target * F.log_softmax(scores, dim=1)).sum(1).mean()


def grade(model: nn.Module, tokenizer, pictures: Tensor, known: list[dict[str, str]], rng: torch.Generator) -> dict:
    """On held-out renders: the share of sentences whose best picture of 64 is one of which they are true, and for
    each attribute how often its phrase is told from the other phrases of the same attribute (chance in brackets)."""
    with torch.no_grad():
        seen = F.normalize(torch.cat([model.encode_image(part) for part in pictures.split(64)]).float(), dim=1)
        found = 0.0
        groups = [range(start, start + 64) for start in range(0, len(known) - 63, 64)]
        for group in groups:
            said = [sentence(known[i], rng) for i in group]
            scores = _text(model, tokenizer, said) @ seen[list(group)].t()
            truth = matches([known[i] for i in group], said).t()
            found += truth.gather(1, scores.argmax(1, keepdim=True)).float().mean().item() / len(groups)
        figures = {"sentence finds its picture": round(found, 4)}
        for name in ATTRIBUTES:
            phrases = sorted({entry[name] for entry in known if name in entry})
            told = [i for i, entry in enumerate(known) if name in entry]
            sentences = [Sentence(f"a person {'' if name in _DOING else 'with '}{phrase}", ()) for phrase in phrases]
            choice = (seen[told] @ _text(model, tokenizer, sentences).t()).argmax(1).tolist()
            right = [phrases[k] == known[i][name] for i, k in zip(told, choice, strict=True)]
            figures[name] = round(sum(right) / len(right), 4)
    return figures


_DOING = ("smile", "mouth_open", "yaw")


def _text(model: nn.Module, tokenizer, sentences: list[Sentence]) -> Tensor:
    return F.normalize(model.encode_text(tokenizer([entry.text for entry in sentences])).float(), dim=1)


def _words(known: list[dict[str, str]], rng: torch.Generator) -> set[str]:
    """Words of letters, and marks, of many sentences."""
    said = " ".join(sentence(entry, rng).text for entry in known for _ in range(2))
    return set(said.replace(",", " , ").split())


def _groups(model: nn.Module) -> list[dict]:
    """Weight decay for matrices alone."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    return [
        {"params": matrices, "weight_decay": 0.02},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _save(job: Job, path: Path, model: nn.Module, config: dict, figures: dict) -> None:
    halves = {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in model.state_dict().items()}
    save_file(halves, str(path), {"provenance": json.dumps(job.provenance(**figures))})
    path.chmod(0o644)  # the library makes it private
    values = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "shortest"}}
    (path.parent / CONFIG_NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    job.say(f"wrote {path.parent.name}/{path.name}")
