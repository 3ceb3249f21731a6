#!/usr/bin/env python3
"""Draws tests/samples and tests/fixtures/broken anew: sample images in every format, and files that are none.

Besides plain JPEG, PNG and BMP there are a CMYK JPEG (inverted, as Photoshop writes them), a 16-bit RGB
PNG, a greyscale JPEG and a JPEG stored on its side with EXIF orientation 6.
"""
import argparse
import os
import struct
import zlib

import numpy as np
from PIL import Image

from draw import draw, file_name
from subjects import LABELS

SEED = 77
LARGEST = {"jpg": 1200, "png": 480, "bmp": 400}
ROTATED, ORIENTATION_TAG = 6, 0x0112


def plain(folder):
    """24 images: each label once, eight of them twice; two thirds JPEG, the others PNG and BMP in turn."""
    for number in range(24):
        label = LABELS[number * 5 % len(LABELS)]
        extension = ("jpg", "png", "jpg", "jpg", "bmp", "jpg")[number % 6]
        picture = draw(SEED, number, label, LARGEST[extension])
        settings = {"quality": 85} if extension == "jpg" else {}
        picture.save(os.path.join(folder, file_name(label, f"{number:04d}", extension)), **settings)


def special(folder):
    """One image of each kind that decoders get wrong."""

    def path(label, number, extension):
        return os.path.join(folder, file_name(label, number, extension))

    four_inks(draw(SEED, 24, "stop", 700)).save(path("stop", "0024-cmyk", "jpg"), quality=90)
    save_16_bit(draw(SEED, 25, "roundabout", 420), path("roundabout", "0025-16bit", "png"))
    draw(SEED, 26, "bicycle", 700).convert("L").save(path("bicycle", "0026-grey", "jpg"), quality=90)
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = ROTATED
    on_its_side = draw(SEED, 30, "car", 900).transpose(Image.Transpose.ROTATE_90)
    on_its_side.save(path("car", "0030-exif6", "jpg"), quality=90, exif=exif)


def four_inks(picture):
    """The picture as CMYK with the grey part printed in black, as presses want it (PIL's own has no black)."""
    coloured = 255.0 - np.asarray(picture)
    black = coloured.min(axis=2, keepdims=True)
    coloured = (coloured - black) * 255 / np.maximum(255 - black, 1)
    return Image.fromarray(np.dstack([coloured, black]).round().astype(np.uint8), "CMYK")


def save_16_bit(picture, path):
    """A PNG with 16 bits a channel: the upper byte is the picture, the lower one its row number, so not a copy."""
    upper = np.asarray(picture).astype(np.uint16)
    height, width, _ = upper.shape
    lower = (np.arange(height) % 256).astype(np.uint16)[:, None, None]
    rows = (upper << 8 | lower).astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.hstack([np.zeros((height, 1), np.uint8), rows])
    with open(path, "wb") as sink:
        sink.write(b"\x89PNG\r\n\x1a\n")
        for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
                           (b"IDAT", zlib.compress(filtered.tobytes(), 9)), (b"IEND", b"")):
            sink.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))


def broken(folder, samples):
    """A JPEG cut off at two fifths, a file of no bytes, and words called .jpg."""
    with open(os.path.join(samples, file_name("traffic light red", "0000", "jpg")), "rb") as source:
        whole = source.read()
    for name, data in (("truncated.jpg", whole[: len(whole) * 2 // 5]), ("empty.jpg", b""),
                       ("text.jpg", b"This file is called .jpg, but it holds words.\n")):
        with open(os.path.join(folder, name), "wb") as sink:
            sink.write(data)


def main():
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "tests")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", default=os.path.join(root, "samples"), help="folder of the good ones (default tests/samples)")
    parser.add_argument("--broken", default=os.path.join(root, "fixtures", "broken"), help="folder of the others (default tests/fixtures/broken)")
    options = parser.parse_args()
    for folder in (options.samples, options.broken):
        os.makedirs(folder, exist_ok=True)
    plain(options.samples)
    special(options.samples)
    broken(options.broken, options.samples)


if __name__ == "__main__":
    main()
