"""How good the demo generator is, graded by the oracle, against renders of the same samples and of other people.

R2        oracle's reading of generated pictures against the factors that the sample stands for
ceiling   the same for renders of these factors: what the oracle itself can read
diversity standard deviation of what the oracle reads, generated / rendered
probe     held-out R2 of a linear regression from w to the factor: what W gives for free
realism   Frechet distance of identity-network features, generated to rendered, beside rendered to other renders
halving   straight ways in W between pairs of samples: how many times smaller the largest step of any 8 x 8 block is
          when the way has 64 steps instead of 32: 2 where nothing jumps, 1 where something does

python benchmarks/demo_generator.py [--portraits 1024] [--ways 32] [--generator FILE] [--sheets FOLDER] [--write]

--sheets writes pictures: 32 unchosen samples beside their renders, as they are and doubled, and four interpolations.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from _generator_sheets import smoothness, write_sheets
from _harness import machine_facts, table
from _harness import say as print_line
from _pages import write_page
from semantic_edit.demo import factors_from_z, identity, measure, render
from semantic_edit.demo.assets import demo_file, demo_reader
from semantic_edit.demo.portraits.factors import INDEX, LIVE_NAMES, Z_DIM, visibility_mask
from semantic_edit.editing.common.fit import fit_attribute
from semantic_edit.editing.common.similarity import psnr
from semantic_edit.models import load_generator
from semantic_edit.models.encoders.encoder import load_encoder
from semantic_edit.models.errors import InputError
from semantic_edit.offline.train_demo.common import gradient_energy, r_squared
from torch import Tensor

LINES: list[str] = []  # what was printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=1024)
    parser.add_argument("--ways", type=int, default=32, help="interpolations that are measured")
    parser.add_argument("--generator", type=Path, default=None, help="default: the shipped one")
    parser.add_argument("--sheets", type=Path, help="folder for pictures")
    parser.add_argument("--write", action="store_true", help="put what is printed on the page of results/")
    options = parser.parse_args()
    generator = load_generator(options.generator or demo_file("generators"))
    size = generator.resolution[0]
    z = torch.randn(options.portraits, Z_DIM, generator=torch.Generator().manual_seed(20260))
    with torch.no_grad():
        codes = generator.map(z)
        generated = torch.cat([generator.synthesize(part) for part in codes.split(64)])
    factors = factors_from_z(z)
    rendered = render(factors, size).images
    quality = psnr(generated, rendered).mean()
    say(f"{options.portraits} portraits of {size} px; PSNR against the renders {quality:.2f} dB\n")
    factor_table(codes[:, 0], factors, generated, rendered)
    realism(generated, rendered, size)
    encoder_figures(generator, generated, rendered)
    if options.ways:
        way_figures(generator, options.ways)
    if options.sheets:
        write_sheets(generator, options.sheets)
    if options.write:
        command = f"python benchmarks/demo_generator.py --portraits {options.portraits} --ways {options.ways}"
        write_page("demo_generator", "\n".join(LINES), command, machine_facts())


def way_figures(generator, count: int) -> None:
    """Whether ways from one portrait to another jump."""
    halved, uneven = smoothness(generator, count)
    say(f"interpolation, {count} ways in W: halving {halved.mean():.2f} (least {halved.min():.2f}); "
        f"largest step / mean step {uneven.mean():.2f} (most {uneven.max():.2f})")  # fmt: skip


def factor_table(w: Tensor, factors: Tensor, generated: Tensor, rendered: Tensor) -> None:
    """R2, ceiling, diversity and probe of each factor."""
    intended, shown = factors[:, : len(LIVE_NAMES)], visibility_mask(factors)
    read, ceiling = (columns(measure(pictures)) for pictures in (generated, rendered))
    scores, best = r_squared(read, intended, shown), r_squared(ceiling, intended, shown)
    rows = []
    for name in LIVE_NAMES:
        k = INDEX[name]
        seen = shown[:, k] > 0
        diversity = read[seen, k].std() / ceiling[seen, k].std()
        probe = fit_attribute(w[seen], intended[seen, k]).r2
        rows.append((name, f"{scores[k]:.3f}", f"{best[k]:.3f}", f"{diversity:.2f}", f"{probe:.3f}"))
    rows.append(("mean", f"{scores.mean():.3f}", f"{best.mean():.3f}", "", ""))
    say(table(("factor", "R2", "ceiling", "diversity", "probe"), rows) + "\n")


def realism(generated: Tensor, rendered: Tensor, size: int) -> None:
    """Frechet distances, and how much fine detail there is."""
    try:
        other = torch.randn(len(rendered), Z_DIM, generator=torch.Generator().manual_seed(20261))
        others = render(factors_from_z(other), size).images
        base = features(rendered)
        values = [frechet(features(pictures), base) for pictures in (generated, others, soften(rendered))]
        say("realism: distance {:.2f}; other renders {:.2f}; blurred renders {:.2f}".format(*values))
        same = (identity(generated) * identity(rendered)).sum(1).mean()
        say(f"identity: generated and rendered portrait of one sample {same:.3f}")
    except InputError as missing:
        say(f"realism: {missing}")
    detail = gradient_energy(generated) / gradient_energy(rendered)
    say(f"fine detail: gradient energy of generated / rendered {detail:.3f}")


def encoder_figures(generator, generated: Tensor, rendered: Tensor) -> None:
    """PSNR of the encoder's guess drawn again, and its speed."""
    try:
        encoder = load_encoder(demo_file("encoders"))
    except InputError as missing:
        say(f"encoder: {missing}")
        return
    for name, pictures in (("samples", generated[:128]), ("renders", rendered[:128])):
        again = generator.synthesize(encoder.encode(pictures, generator))
        say(f"encoder: PSNR of {name} {psnr(again, pictures).mean():.2f} dB")
    encoder.encode(generated[:32], generator)
    began = time.perf_counter()
    encoder.encode(generated[:32], generator)
    say(f"encoder: 32 pictures in {time.perf_counter() - began:.3f} s on {torch.get_num_threads()} threads")


def columns(measured: dict[str, Tensor]) -> Tensor:
    """Measurements as ``[N, factors]``."""
    return torch.stack([measured[name] for name in LIVE_NAMES], 1)


def features(pictures: Tensor) -> Tensor:
    """Mean features ``[N, C]`` of the identity network's two last stages: it trained no generator."""
    network = demo_reader("identity")
    with torch.no_grad():
        pieces = [network.features(part.clamp(-1, 1))[2:] for part in pictures.split(64)]
    return torch.cat([torch.cat([level.mean((2, 3)) for level in piece], 1) for piece in pieces])


def frechet(a: Tensor, b: Tensor) -> float:
    """|mean difference|^2 + tr(A + B - 2 (A B)^(1/2)) of two feature sets (1706.08500), per cent of tr(B)."""
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.t()), torch.cov(b.t())
    values, vectors = torch.linalg.eigh(cov_b)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.t()
    middle = torch.linalg.eigvalsh(root @ cov_a @ root).clamp(min=0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * middle
    return float(100 * distance / cov_b.trace())


def soften(pictures: Tensor) -> Tensor:
    """A 3 x 3 mean, as a yardstick."""
    return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)


def say(text: str) -> None:
    """Print a line, and keep it for the page; a line that is no row of a table becomes an entry of a list there."""
    print_line(text)
    LINES.append(text if text.startswith("|") else f"- {text}")


if __name__ == "__main__":
    main()
