"""Zero-shot and retrieval by a B/32, and the search alone with its memory, against clip-benchmark's own code."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from torch.nn import functional

from benchmarks.measure import Measurement, beside, device, row
from harness import registry
from harness.asking.ask import ranker
from harness.asking.retrieve import retriever
from harness.compute import memory
from harness.compute.onednn import fast_linear
from harness.images import open_image
from harness.types import Asked, Place, Sample

TEMPLATES = ("a photo of a {}.", "a blurry photo of the {}.", "a drawing of a {}.", "art of the {}.")
WORDS = ("red", "old", "small", "dog", "car", "tree", "lamp", "boat", "clock", "street", "kitchen", "garden")


def rows(quick: bool) -> Iterator[Measurement]:
    """None where clip-benchmark is not installed."""
    try:
        import clip_benchmark  # noqa: F401
    except ImportError:
        print("clip-benchmark is not installed: pip install clip-benchmark", file=sys.stderr)
        return
    registry.load()
    number = 256 if torch.cuda.is_available() else (8 if quick else 32)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        theirs, ours = _models(folder)
        yield _zero_shot(theirs, ours, _pictures(folder / "zero_shot", number))
        yield _retrieval(theirs, ours, _pictures(folder / "retrieval", number))
        yield _search(folder, 3_000 if quick else 5_000)


def _models(folder: Path) -> tuple[Any, Any]:
    """One B/32 with random weights: open_clip's, as clip-benchmark asks it, and as an encoder of ours."""
    import open_clip

    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32-quickgelu", device=device())
    torch.save(model.state_dict(), folder / "b32.pt")
    place = Place(device=device().type, dtype="fp32")
    encoder = registry.make_encoder(f"open-clip:ViT-B-32-quickgelu?weights={folder / 'b32.pt'}", place)
    return (model.eval(), transform, open_clip.get_tokenizer("ViT-B-32-quickgelu")), encoder


def _pictures(folder: Path, number: int) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{n:05d}.png" for n in range(number)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((256, 256)).save(path)
    return paths


class _Loader:
    """Batches as clip-benchmark's loader gives them: pictures opened and made pixels, one after another."""

    def __init__(self, transform: Any, paths: list[Path], told: list[Any], size: int = 64) -> None:
        self._transform, self._paths, self._told, self._size = transform, paths, told, size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, Any]]:
        for n in range(0, len(self._paths), self._size):
            pixels = [self._transform(Image.open(path)) for path in self._paths[n : n + self._size]]
            told = self._told[n : n + self._size]
            yield torch.stack(pixels), torch.tensor(told) if isinstance(told[0], int) else told

    def __len__(self) -> int:
        return -(-len(self._paths) // self._size)


@torch.inference_mode()
def _zero_shot(theirs: Any, ours: Any, paths: list[Path]) -> Measurement:
    from clip_benchmark.metrics import zeroshot_classification as way

    model, transform, tokenize = theirs
    classes = [f"{a} {b}" for a in WORDS[:4] for b in WORDS[4:]]
    samples = [Sample(path.name, path, "0", texts=tuple(classes), templates=TEMPLATES) for path in paths]
    found: dict[str, torch.Tensor] = {}

    def reference() -> None:
        templates = [one.replace("{}", "{c}") for one in TEMPLATES]
        table = way.zero_shot_classifier(model, tokenize, classes, templates, device().type, False)
        loader = _Loader(transform, paths, [0] * len(paths))
        found["reference"] = way.run_classification(model, table, loader, device().type, False)[0] / 100

    def product() -> None:
        # classifiers are kept between runs: here each run makes its own
        with tempfile.TemporaryDirectory() as nothing_kept, fast_linear(device(), torch.float32):
            os.environ["OHD_BENCH_CACHE"] = nothing_kept
            ask = ranker(ours, Place(device=device().type))
            replies = dict(ask([Asked(open_image(one.image), (one,)) for one in samples if one.image]))
        found["product"] = torch.tensor([replies[one].scores for one in samples])

    return _row("zero-shot-b32", reference, product, found, {"pictures": len(paths), "captions": 32 * len(TEMPLATES)})


@torch.inference_mode()
def _retrieval(theirs: Any, ours: Any, paths: list[Path]) -> Measurement:
    from clip_benchmark.metrics import zeroshot_retrieval as way

    model, transform, tokenize = theirs
    rng = np.random.default_rng(1)
    captions = [[f"a {' '.join(rng.choice(WORDS, 6))} {n} {k}" for k in range(5)] for n in range(len(paths))]
    samples = list(_asked(paths, captions))
    found: dict[str, torch.Tensor] = {}

    def reference() -> None:
        told = way.evaluate(model, _Loader(transform, paths, captions), tokenize, device().type, False, [1, 5])
        kinds = ("image_retrieval", "text_retrieval")
        found["reference"] = torch.tensor([told[f"{kind}_recall@{k}"] for kind in kinds for k in (1, 5)])

    def product() -> None:
        with fast_linear(device(), torch.float32):
            found["product"] = _recalls(retriever(ours, Place(device=device().type), samples), samples)

    return _row("retrieval-b32", reference, product, found, {"pictures": len(paths), "captions": 5 * len(paths)})


def _asked(paths: list[Path], captions: list[list[str]]) -> Iterator[Sample]:
    for path, own in zip(paths, captions, strict=True):
        yield Sample(path.name, path, "", texts=tuple(own), group="image-to-text")
        for n, caption in enumerate(own):
            yield Sample(f"{path.name}/{n}", path, "", texts=(caption,), group="text-to-image")


def _recalls(ask: Any, samples: list[Sample]) -> torch.Tensor:
    """R@1 and R@5 of text to image, then of image to text."""
    places = {sample: min(reply.scores) for sample, reply in ask([Asked(None, (one,)) for one in samples])}
    groups = [
        [place for sample, place in places.items() if sample.group == g] for g in ("text-to-image", "image-to-text")
    ]
    return torch.tensor([sum(place <= k for place in own) / len(own) for own in groups for k in (1, 5)])


def _row(name: str, reference: Any, product: Any, found: dict[str, torch.Tensor], about: dict[str, Any]) -> Measurement:
    product()  # a warm-up
    times = beside(reference, product)
    worst = float((found["product"] - found["reference"]).abs().max())
    detail = {**times.detail(), **about, "max_difference": worst}
    return row(name, times.reference, times.product, worst <= 1e-4, **detail)


def _search(folder: Path, pictures: int) -> Measurement:
    """The search alone, over rows that are there already, each way in a process of its own: time and peak memory."""
    told = {}
    for way in ("reference", "product"):
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_search_by, args=(way, pictures, folder))
        process.start()
        process.join()
        told[way] = json.loads((folder / f"{way}.json").read_text())
    first, second = told["reference"], told["product"]
    worst = max(abs(a - b) for a, b in zip(first["recalls"], second["recalls"], strict=True))
    return row(
        "retrieval-search", first["seconds"], second["seconds"], worst <= 1e-6, pictures=pictures,
        captions=5 * pictures, reference_mb=round(first["mb"]), product_mb=round(second["mb"]),
    )  # fmt: skip


def _search_by(way: str, pictures: int, folder: Path) -> None:
    """Runs in the child: writes recalls, seconds, and the megabytes that the search took on top of the rows."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    image_ND = functional.normalize(torch.randn(pictures, 512), dim=-1)
    text_MD = functional.normalize(
        image_ND.repeat_interleave(5, 0) + 1.5 * torch.randn(5 * pictures, 512) / 512**0.5, dim=-1
    )
    began, before = time.perf_counter(), psutil.Process().memory_info().rss / 2**20
    recalls = (_reference_search if way == "reference" else _product_search)(image_ND, text_MD, folder)
    told = {"recalls": recalls, "seconds": time.perf_counter() - began, "mb": memory.peak_bytes(False) / 2**20 - before}
    (folder / f"{way}.json").write_text(json.dumps(told))


def _reference_search(image_ND: torch.Tensor, text_MD: torch.Tensor, folder: Path) -> list[float]:
    from clip_benchmark.metrics import zeroshot_retrieval as way

    class Rows:
        def encode_image(self, batch: torch.Tensor) -> torch.Tensor:
            return batch

        def encode_text(self, batch: torch.Tensor) -> torch.Tensor:
            return batch

    loader = [
        (image_ND[n : n + 64], [list(range(5 * i, 5 * i + 5)) for i in range(n, min(n + 64, len(image_ND)))])
        for n in range(0, len(image_ND), 64)
    ]
    told = way.evaluate(Rows(), loader, lambda numbers: text_MD[numbers], "cpu", False, [1, 5])
    return [told[f"{kind}_recall@{k}"] for kind in ("image_retrieval", "text_retrieval") for k in (1, 5)]


def _product_search(image_ND: torch.Tensor, text_MD: torch.Tensor, folder: Path) -> list[float]:
    paths = _pictures_of(folder / "search", len(image_ND))

    class Rows:
        seen = 0

        def encode_images(self, images: list[Any]) -> torch.Tensor:
            self.seen += len(images)
            return image_ND[self.seen - len(images) : self.seen]

        def encode_texts(self, texts: list[str]) -> torch.Tensor:
            return text_MD[[int(text) for text in texts]]

    samples = list(_asked(paths, [[str(n) for n in range(5 * i, 5 * i + 5)] for i in range(len(paths))]))
    return [float(one) for one in _recalls(retriever(Rows(), Place(device="cpu"), samples), samples)]  # type: ignore[arg-type]


def _pictures_of(folder: Path, number: int) -> list[Path]:
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "one.png")
    paths = [folder / f"{n:06d}.png" for n in range(number)]
    for path in paths:
        path.hardlink_to(folder / "one.png")
    return paths
