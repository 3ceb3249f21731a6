#!/usr/bin/env python3
"""Trains and evaluates the demo model: ResNet-101 at an eighth of its width, on drawn road scenes.

  train.py draw      draws training images and keeps them, preprocessed, in a cache folder
  train.py fit       trains on what the cache holds and writes model.safetensors and manifest.json
  train.py evaluate  top-1 of a weights folder on a folder of <label>__<number>.<ext> files

Needs torch, safetensors, numpy and Pillow; runs on the CPU.
"""
import argparse
import copy
import glob
import io
import multiprocessing
import os
import time

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

import draw
import reference
from subjects import LABELS, MIRRORED

FORMATS = {"jpeg": 16, "png": 3, "bmp": 1}
CHUNK = 400
MIRRORED_CLASSES = torch.tensor([name in MIRRORED for name in LABELS])


# Drawing


def draw_chunk(task):
    """Draws images `first` to `first + CHUNK` through their file bytes, so that JPEG's traces are in them."""
    seed, first, largest, folder = task
    path = os.path.join(folder, f"{seed}-{first:06d}")
    if os.path.exists(path + ".labels.npy"):
        return
    images, classes = [], []
    for index in range(first, first + CHUNK):
        label, _, data = draw.drawn_file(seed, index, FORMATS, largest)
        images.append(reference.pixels(Image.open(io.BytesIO(data))))
        classes.append(LABELS.index(label))
    np.save(path + ".images.npy", np.stack(images))
    np.save(path + ".labels.npy", np.array(classes))


def run_draw(options):
    os.makedirs(options.cache, exist_ok=True)
    tasks = [(options.seed, first, options.largest, options.cache) for first in range(0, options.count, CHUNK)]
    start = time.time()
    with multiprocessing.Pool(options.jobs) as pool:
        for done, _ in enumerate(pool.imap_unordered(draw_chunk, tasks), 1):
            print(f"{done * CHUNK} images, {done * CHUNK / (time.time() - start):.1f} images/s", flush=True)


def cached(folder):
    """All finished chunks of a cache as (u8 [n, 224, 224, 3], classes [n]); images stay on disk until used."""
    names = sorted(path[: -len(".labels.npy")] for path in glob.glob(os.path.join(folder, "*.labels.npy")))
    images = [np.load(name + ".images.npy", mmap_mode="r") for name in names]
    return images, torch.from_numpy(np.concatenate([np.load(name + ".labels.npy") for name in names]))


def gather(chunks, indices):
    return torch.from_numpy(np.stack([chunks[i // CHUNK][i % CHUNK] for i in indices]))


# Training


def at_edge(batch, edge):
    """Normalised images averaged down from 224 to `edge`, a divisor of 224."""
    x = reference.normalised(batch)
    return functional.avg_pool2d(x, 224 // edge) if edge < 224 else x


def varied(x, classes, generator):
    """Small random changes: mirrored where the class allows it, contrast, brightness, a shift of a few pixels."""
    n = len(x)
    mirror = MIRRORED_CLASSES[classes] & (torch.rand(n, generator=generator) < 0.5)
    x = torch.where(mirror.view(-1, 1, 1, 1), x.flip(3), x)
    contrast = 1 + 0.2 * (torch.rand(n, 1, 1, 1, generator=generator) - 0.5)
    brightness = 0.3 * (torch.rand(n, 1, 1, 1, generator=generator) - 0.5)
    down, right = torch.randint(-6, 7, (2,), generator=generator).tolist()
    return (x * contrast + brightness).roll((down, right), (2, 3))


def parse_phases(text):
    """`112:12,224:2` as [(112, 12), (224, 2)]: edge in pixels and epochs."""
    return [tuple(int(number) for number in part.split(":")) for part in text.split(",")]


def learning_rate(peak, done):
    """One cycle over the share `done` of the work: up in the first tenth, then down a cosine to nearly nothing."""
    if done < 0.1:
        return peak * (0.05 + 0.95 * done / 0.1)
    return peak * (0.002 + 0.998 * 0.5 * (1 + np.cos(np.pi * (done - 0.1) / 0.9)))


def follow(average, network, step):
    """Moves the running average of weights and batch statistics towards the network's."""
    rate = 1 - min(0.997, (1 + step) / (10 + step))
    for kept, new in zip(average.state_dict().values(), network.state_dict().values()):
        if kept.is_floating_point():
            kept.lerp_(new, rate)


def fresh_network(seed):
    """Each residual block starts as the identity (its last scale is zero): 101 narrow layers train well so."""
    torch.manual_seed(seed)
    network = reference.ResNet(101, 8, len(LABELS))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, reference.Block):
            torch.nn.init.zeros_(module.last_norm().weight)
    return network


@torch.inference_mode()
def accuracy(network, cache, edge):
    chunks, classes = cached(cache)
    right = 0
    for indices in torch.arange(len(classes)).split(50):
        logits = network(at_edge(gather(chunks, indices.tolist()), edge))
        right += (logits.argmax(1) == classes[indices]).sum().item()
    return right / len(classes)


def run_fit(options):
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(options.seed)
    network = reference.load_weights(options.start)[0] if options.start else fresh_network(options.seed)
    network = network.to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval()
    for tensor in average.parameters():
        tensor.requires_grad_(False)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=1e-4)
    total = sum(epochs * edge * edge for edge, epochs in options.phases)
    spent, step = 0.0, 0
    for edge, epochs in options.phases:
        for epoch in range(epochs):
            chunks, classes = cached(options.cache)
            order = torch.randperm(len(classes), generator=generator)
            network.train()
            start, losses, share = time.time(), [], edge * edge * options.batch / len(classes)
            for indices in order.split(options.batch):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(options.rate, min(1.0, spent / total))
                x = varied(at_edge(gather(chunks, indices.tolist()), edge), classes[indices], generator)
                loss = functional.cross_entropy(network(x), classes[indices], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
                optimizer.step()
                spent, step = spent + share, step + 1
                follow(average, network, step)
                losses.append(loss.item())
                if step % 20 == 0:
                    speed = len(losses) * options.batch / (time.time() - start)
                    print(f"{edge} px epoch {epoch} step {step} loss {np.mean(losses[-20:]):.3f} {speed:.0f} images/s", flush=True)
            held_out = accuracy(average, options.held_out, edge)
            print(f"{edge} px epoch {epoch}: {len(classes)} images, held-out top-1 {held_out:.4f}", flush=True)
            reference.save_weights(average, options.out, LABELS)


# Evaluation


@torch.inference_mode()
def run_evaluate(options):
    torch.set_num_threads(options.threads)
    network, labels = reference.load_weights(options.weights)
    files = sorted(path for path in glob.glob(os.path.join(options.images, "*__*")))
    confusions, right = {}, 0
    for path in files:
        with Image.open(path) as picture:
            batch = torch.from_numpy(reference.pixels(picture).copy())[None]
        answer, truth = labels[network(reference.normalised(batch)).argmax().item()], draw.label_of(path)
        right += answer == truth
        if answer != truth:
            confusions.setdefault((truth, answer), []).append(os.path.basename(path))
    for (truth, answer), names in sorted(confusions.items(), key=lambda item: -len(item[1])):
        print(f"{len(names):4}  {truth} taken for {answer}: {' '.join(names[:6])}")
    print(f"top-1 {right / max(1, len(files)):.4f} ({right} of {len(files)})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="draw|fit|evaluate")

    drawing = commands.add_parser("draw", help="draw images into a cache")
    drawing.add_argument("--cache", required=True, help="folder of the preprocessed images; what is there already is kept")
    drawing.add_argument("--seed", type=int, default=1000, help="of the drawings (default 1000)")
    drawing.add_argument("--count", type=int, default=12000, help=f"images, in chunks of {CHUNK} (default 12000)")
    drawing.add_argument("--largest", type=int, default=800, help="cap on an image's longer edge: less to draw (default 800)")
    drawing.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    drawing.set_defaults(run=run_draw)

    fitting = commands.add_parser("fit", help="train and write the weights after every epoch")
    fitting.add_argument("--cache", required=True, help="folder that `draw` fills; read anew each epoch, so drawing may go on meanwhile")
    fitting.add_argument("--held-out", required=True, help="a cache of another seed, for the score after each epoch")
    fitting.add_argument("--out", required=True, help="weights folder to write")
    fitting.add_argument("--start", help="weights folder to go on from (default: fresh weights)")
    fitting.add_argument("--phases", type=parse_phases, default="112:12,224:2", help="edge:epochs, in turn (default 112:12,224:2)")
    fitting.add_argument("--batch", type=int, default=64, help="images a step (default 64)")
    fitting.add_argument("--rate", type=float, default=4e-3, help="peak learning rate (default 0.004)")
    fitting.add_argument("--seed", type=int, default=1, help="of weights and order (default 1)")
    fitting.add_argument("--threads", type=int, default=1, help="threads (default 1)")
    fitting.set_defaults(run=run_fit)

    evaluating = commands.add_parser("evaluate", help="top-1 and the confusions on a folder of files")
    evaluating.add_argument("--weights", required=True, help="weights folder: model.safetensors and manifest.json")
    evaluating.add_argument("--images", required=True, help="folder of <label>__<number>.<ext> files")
    evaluating.add_argument("--threads", type=int, default=1, help="threads (default 1)")
    evaluating.set_defaults(run=run_evaluate)

    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
