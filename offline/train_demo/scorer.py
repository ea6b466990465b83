"""Contrastive training of the demo world's open_clip model: pictures and short sentences in one space.

The loss (CLIP, 2103.00020) counts every match (see `sentences`): picture to sentence and sentence to picture, the
target spread evenly over all that hold. Beside it the image tower reads the factors from its embedding, through a
linear layer that is thrown away: sentences alone find hair and background within minutes, and eyes and mouths only much
later. Saved as open_clip saves models, so that open_clip itself can load the folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ...demo.portraits.captions import ATTRIBUTES
from ...demo.portraits.factors import normalise_factors, visibility_mask
from ...demo.readers import READER_SIZE
from ...models.loading.torchvision_stubs import allow_declaring
from ...models.scorers.files import CONFIG_NAME
from ...models.scorers.scorer import import_open_clip
from .augment import heavy_disturbance, light_disturbance
from .common import TrainingRun, from_bytes, rendered_z, set_rate, warm_cosine
from .sentences import ACTIONS, Sentence, match_matrix, portrait_phrases, random_sentence
from .vocabulary import learn_merges, write_vocabulary

CONTEXT = 48
VOCABULARY = "words.txt.gz"
BATCH = 96
_STEPS = 1500
_RATE = 2e-3
_READING = 8.0  # weight of reading the factors


def train_scorer(run: TrainingRun) -> None:
    """Train on 10,000 renders, a new sentence for each picture at every step."""
    allow_declaring()
    open_clip = import_open_clip()
    torch.manual_seed(run.seed)
    rng = torch.Generator().manual_seed(run.seed)
    count, held_out, steps = (192, 96, 2) if run.smoke else (10000, 512, _STEPS)
    factors, images = rendered_z(count + held_out, READER_SIZE, rng)
    attributes = portrait_phrases(factors)
    run.say(f"rendered {count + held_out} portraits in {run.seconds():.0f} s")
    folder = run.out / "demo_portraits"
    folder.mkdir(exist_ok=True)
    size = write_vocabulary(folder / VOCABULARY, learn_merges(_words(attributes, rng)))
    config = model_config(size)
    model = open_clip.CLIP(**config).to(memory_format=torch.channels_last)
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(folder / VOCABULARY), context_length=CONTEXT)
    truth, mask = normalise_factors(factors), visibility_mask(factors)
    head = nn.Linear(config["embed_dim"], truth.shape[1])
    optimizer = torch.optim.AdamW(_groups(nn.ModuleList([model, head])), _RATE, (0.9, 0.98))
    total = 0.0
    for step in range(steps):
        set_rate(optimizer, _RATE * warm_cosine(step, steps, 60, 0.2))
        index = torch.randint(0, count, (BATCH,), generator=rng).tolist()
        sentences = [random_sentence(attributes[i], rng) for i in index]
        disturb = heavy_disturbance if step % 2 else light_disturbance
        pictures = disturb(from_bytes(images[index]), rng).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            tokens = tokenizer([sentence.text for sentence in sentences])
            image_embeddings, text_embeddings = model.encode_image(pictures).float(), model.encode_text(tokens).float()
        matches = match_matrix([attributes[i] for i in index], sentences)
        reading = F.smooth_l1_loss(head(image_embeddings), truth[index], beta=0.2, reduction="none")
        loss = contrastive_loss(image_embeddings, text_embeddings, model.logit_scale.exp(), matches)
        loss = loss + _READING * (reading * mask[index]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, 4.6)
        total += loss.item()
        if (step + 1) % 100 == 0:
            run.say(f"step {step + 1} of {steps}: loss {total / 100:.3f}, {run.seconds():.0f} s")
            total = 0.0
    model.eval()
    figures = evaluate(
        model, tokenizer, from_bytes(images[count:]), attributes[count:], torch.Generator().manual_seed(1)
    )
    run.say(", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    _save(run, folder / "open_clip_model.safetensors", model, config, figures)


def model_config(vocabulary: int) -> dict:
    """Return open_clip's model_cfg for a vocabulary of that many entries."""
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


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, matches: Tensor) -> Tensor:
    """Compute the symmetric cross-entropy of CLIP, its target spread evenly over all matches.

    Args:
        images: embeddings [B, E].
        texts: embeddings [N, E].
        scale: of the cosines, the inverse temperature; a scalar.
        matches: [B, N] bool, which sentence is true of which picture.

    Returns:
        A scalar.
    """
    scores = scale * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).t()
    targets = matches.float()
    return 0.5 * (_cross_entropy(scores, targets) + _cross_entropy(scores.t(), targets.t()))


def _cross_entropy(scores: Tensor, matches: Tensor) -> Tensor:
    target = matches / matches.sum(1, keepdim=True).clamp(min=1)
    return -(target * F.log_softmax(scores, dim=1)).sum(1).mean()


def evaluate(
    model: nn.Module,
    tokenizer,
    pictures: Tensor,  # [B, 3, H, W] in -1..1, held-out renders
    attributes: list[dict[str, str]],  # attribute -> phrase, of each
    rng: torch.Generator,
) -> dict[str, float]:
    """Measure retrieval and classification.

    Returns:
        The share of sentences whose best picture of 64 is one of which they are true; and for each attribute the share
        of pictures whose phrase scores higher than the other phrases of the same attribute.
    """
    with torch.no_grad():
        images = F.normalize(torch.cat([model.encode_image(chunk) for chunk in pictures.split(64)]).float(), dim=1)
        recall = 0.0
        groups = [range(start, start + 64) for start in range(0, len(attributes) - 63, 64)]
        for group in groups:
            sentences = [random_sentence(attributes[i], rng) for i in group]
            scores = _encode_text(model, tokenizer, sentences) @ images[list(group)].t()
            truth = match_matrix([attributes[i] for i in group], sentences).t()
            recall += truth.gather(1, scores.argmax(1, keepdim=True)).float().mean().item() / len(groups)
        figures = {"sentence finds its picture": round(recall, 4)}
        for name in ATTRIBUTES:
            phrases = sorted({portrait[name] for portrait in attributes if name in portrait})
            labelled = [i for i, portrait in enumerate(attributes) if name in portrait]
            sentences = [Sentence(f"a person {'' if name in ACTIONS else 'with '}{phrase}", ()) for phrase in phrases]
            choice = (images[labelled] @ _encode_text(model, tokenizer, sentences).t()).argmax(1).tolist()
            right = [phrases[k] == attributes[i][name] for i, k in zip(labelled, choice, strict=True)]
            figures[name] = round(sum(right) / len(right), 4)
    return figures


def _encode_text(model: nn.Module, tokenizer, sentences: list[Sentence]) -> Tensor:
    """Return unit vectors [N, E]."""
    return F.normalize(model.encode_text(tokenizer([sentence.text for sentence in sentences])).float(), dim=1)


def _words(attributes: list[dict[str, str]], rng: torch.Generator) -> set[str]:
    """Collect the words of letters, and marks, of many sentences."""
    text = " ".join(random_sentence(portrait, rng).text for portrait in attributes for _ in range(2))
    return set(text.replace(",", " , ").split())


def _groups(model: nn.Module) -> list[dict]:
    """Return the optimiser's parameter groups: weight decay for matrices alone."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    return [
        {"params": matrices, "weight_decay": 0.02},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _save(run: TrainingRun, path: Path, model: nn.Module, config: dict, figures: dict) -> None:
    halves = {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in model.state_dict().items()}
    save_file(halves, str(path), {"provenance": json.dumps(run.provenance(**figures))})
    path.chmod(0o644)  # the library makes it private
    values = {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "shortest"}}
    (path.parent / CONFIG_NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    run.say(f"wrote {path.parent.name}/{path.name}")
