#!/usr/bin/env python3
"""Draws road scenes to classify: one subject an image, any number of images, the same for the same seed.

Files are named <label>__<number>.<ext>, with blanks in the label as "-". Needs Pillow and numpy only.
The subject always lies inside the centre crop that the model sees and fills 42 to 96 % of its edge.
"""
import argparse
import io
import multiprocessing
import os
import sys
import time

import numpy as np
from PIL import Image

import scenery
from subjects import LABELS, SUBJECTS, Pen

CROP_FRACTION = 0.875
SHAPES = [(4, 3), (3, 2), (16, 9), (1, 1), (5, 4), (3, 4), (2, 3), (9, 16)]
EXTENSIONS = {"jpeg": "jpg", "png": "png", "bmp": "bmp"}
# Formats that don't compress, or hardly, stay smaller on disk.
LARGEST_EDGE = {"jpeg": 2000, "png": 1400, "bmp": 900}


def draw(seed, index, label, largest=2000):
    """The picture number `index` of `seed` showing `label`: an RGB image, its longer edge at most `largest`."""
    rng = np.random.default_rng([seed, index, LABELS.index(label)])
    width, height = picture_size(rng, largest)
    picture = scenery.background(rng, (width, height))
    crop = min(width, height) * CROP_FRACTION
    side = crop * rng.uniform(0.42, 0.96)
    left, top = [(edge - crop) / 2 + rng.uniform(0, crop - side) for edge in (width, height)]
    subject = subject_picture(rng, label, round(side))
    picture.paste(subject, (round(left), round(top)), subject)
    if rng.random() < 0.3:
        scenery.occlude(rng, picture, (left, top, side))
    return scenery.camera(rng, scenery.light(rng, picture))


def picture_size(rng, largest):
    """Width and height: edges of 300 to 2000 pixels in the ratios cameras have, smaller sizes more often."""
    across, down = SHAPES[rng.integers(len(SHAPES))]
    longer = min(np.exp(rng.uniform(np.log(420), np.log(2000))), largest)
    return [max(300, round(longer * part / max(across, down))) for part in (across, down)]


def subject_picture(rng, label, side):
    """`label` drawn, turned, leaned and shrunk to fit a transparent square of `side` pixels.

    Small ones are drawn at twice the size for smooth edges; large ones need it less and cost too much.
    """
    finer = 2 if side < 400 else 1
    fine = finer * side
    pen = Pen(fine)
    SUBJECTS[label](pen, rng)
    angle, lean, narrow = np.radians(rng.normal(0, 6)), rng.normal(0, 0.06), rng.uniform(0.85, 1.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = turn @ np.array([[1 / narrow, lean], [0, 1]])
    forward = np.linalg.inv(inverse)
    inverse *= max(1.0, np.abs(forward).sum(axis=1).max() * 0.94)
    shift = fine / 2 * (1 - inverse.sum(axis=1))
    table = (*inverse[0], shift[0], *inverse[1], shift[1])
    turned = pen.image.transform((fine, fine), Image.Transform.AFFINE, table, Image.Resampling.BILINEAR)
    return turned.reduce(finer)


def encode(picture, form, rng):
    """`picture` as the bytes of a `form` file; JPEG at a quality of 60 to 95."""
    sink = io.BytesIO()
    settings = {"quality": int(rng.integers(60, 96)), "progressive": bool(rng.random() < 0.2)} if form == "jpeg" else {}
    if form == "png":
        settings = {"compress_level": 1}
    picture.save(sink, form, **settings)
    return sink.getvalue()


def drawn_file(seed, index, formats, largest):
    """Label, format and bytes of file number `index`. Labels take turns, so that classes are even."""
    rng = np.random.default_rng([seed, index])
    label = LABELS[(index + seed) % len(LABELS)]
    form = str(rng.choice(list(formats), p=np.array(list(formats.values())) / sum(formats.values())))
    picture = draw(seed, index, label, min(largest, LARGEST_EDGE[form]))
    return label, form, encode(picture, form, rng)


def file_name(label, number, extension):
    """The name that carries the right answer; `number` may have a suffix."""
    return f"{label.replace(' ', '-')}__{number}.{extension}"


def label_of(path):
    """The label a file's name carries."""
    return os.path.basename(path).split("__")[0].replace("-", " ")


def write_one(task):
    seed, index, formats, largest, out = task
    label, form, data = drawn_file(seed, index, formats, largest)
    with open(os.path.join(out, file_name(label, f"{index:05d}", EXTENSIONS[form])), "wb") as sink:
        sink.write(data)
    return len(data)


def parse_formats(text):
    """`jpeg:16,png:3,bmp:1` as a table of weights; a format without a weight counts 1."""
    weights = {}
    for part in text.split(","):
        name, _, weight = part.partition(":")
        if name not in EXTENSIONS:
            raise argparse.ArgumentTypeError(f"unknown format {name!r}: choose from {', '.join(EXTENSIONS)}")
        weights[name] = float(weight or 1)
    return weights


def progress(done, count, size, start):
    """One line on a terminal, rewritten; the last one everywhere."""
    if sys.stderr.isatty() or done == count:
        rate = done / (time.time() - start)
        print(f"\r{done}/{count} images  {size / 1e6:.1f} MB  {rate:.1f} images/s", end="", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="any whole number from 0; the same seed draws the same images (default 1)")
    parser.add_argument("--count", type=int, default=100, help="how many images (default 100)")
    parser.add_argument("--out", required=True, help="the folder to write to; made when missing")
    parser.add_argument("--formats", type=parse_formats, default="jpeg:16,png:3,bmp:1", metavar="LIST",
                        help="formats with weights; 'png' alone draws PNG only (default jpeg:16,png:3,bmp:1)")
    parser.add_argument("--largest", type=int, default=2000, metavar="PX", help="cap on the longer edge, 300 to 2000 (default 2000)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that draw (default 1)")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    tasks = [(options.seed, index, options.formats, options.largest, options.out) for index in range(options.count)]
    start, size = time.time(), 0
    with multiprocessing.Pool(options.jobs) as pool:
        for done, written in enumerate(pool.imap_unordered(write_one, tasks, chunksize=4), 1):
            size += written
            progress(done, options.count, size, start)
    print(file=sys.stderr)


if __name__ == "__main__":
    main()
