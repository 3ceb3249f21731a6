"""What Pillow says of the files that the test 'mutations' kept, beside what preprocess made of them.

The test keeps the files: SIGHTLINE_TEST_VERDICTS=FOLDER cargo test --workspace --test mutations

Prints how often both read a file, both refuse it, or one alone reads it, each disagreement by its class with an example, and
how far the tensors of those that both read lie apart.

Of 10,000 files (seed 1, Pillow 13) both read 36 % and both refuse 55 %. Where they differ:
- 6.6 %, Pillow alone reads it. It fills the gaps of a damaged JPEG and goes on; preprocess refuses what is damaged (codes that
  no table has, missing markers) rather than to classify what is left. PNGs without their end or with a wrong checksum, the
  same. The rest are limits that Pillow does not have: 64 to 1 between the sides, 32,768 pixels a side, memory.
- 2.1 %, preprocess alone reads it: files cut in an animation's later frames, BMPs whose runs end early (the rest is black), EXIF
  that can't be read, a second file behind the first.
- Of those that both read, 94 % have the same tensor. The others are damaged where no checksum tells: each decoder fills in what
  is missing in its own way.
"""

import collections
import io
import json
import re
import warnings
from pathlib import Path

import numpy
from PIL import Image, ImageOps

SIZE, RESIZED = 224, 256
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")


def pillow(data):
    """The tensor as torchvision's evaluation makes it with Pillow, or why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            image.load()
            image = ImageOps.exif_transpose(image).convert("RGB")
        width, height = image.size
        size = (RESIZED, RESIZED * height // width) if width <= height else (RESIZED * width // height, RESIZED)
        image = image.resize(size, Image.BILINEAR)
        left, top = (round((edge - SIZE) / 2) for edge in image.size)
        image = image.crop((left, top, left + SIZE, top + SIZE))
        return numpy.asarray(image).transpose(2, 0, 1), None
    except Exception as error:  # Pillow raises whatever its decoders do
        return None, f"{type(error).__name__}: {error}"[:90]


def arguments(parser):
    parser.add_argument("folder", type=Path, help="where the test has kept the files")


def main(given):
    folder = given.folder
    Image.MAX_IMAGE_PIXELS = 100_000_000
    counts, classes, apart = collections.Counter(), collections.defaultdict(list), []
    for line in (folder / "verdicts.jsonl").read_text().splitlines():
        verdict = json.loads(line)
        theirs, why = pillow((folder / f"{verdict['number']}.image").read_bytes())
        ours = verdict["outcome"] == "tensor"
        if ours and theirs is not None:
            counts["both read it"] += 1
            tensor = numpy.fromfile(folder / f"{verdict['number']}.tensor", "u1").reshape(3, SIZE, SIZE)
            difference = numpy.abs(tensor.astype(int) - theirs)
            apart.append((float((difference > 2).mean()), verdict["what"], verdict["number"]))
        elif not ours and theirs is None:
            counts["both refuse it"] += 1
        elif ours:
            counts["preprocess alone reads it"] += 1
            classes[f"Pillow refuses: {why.split(':')[0]}"].append((verdict["what"], verdict["number"], why))
        else:
            counts["Pillow alone reads it"] += 1
            error = verdict["error"].split(":")
            # Numbers are no classes.
            text = re.sub(r"0x[0-9A-F]+|\d+", "N", ":".join(error[:2]))[:70]
            key = f"preprocess refuses: {verdict['outcome']}: {text}"
            classes[key].append((verdict["what"], verdict["number"], ""))
    total = sum(counts.values())
    for what, count in counts.most_common():
        print(f"{count:6} {count / total:7.2%}  {what}")
    apart.sort(reverse=True)
    same = sum(share <= 0.01 for share, *_ in apart)
    print(
        f"of those that both read, {same} of {len(apart)} have tensors that differ by more than 2 in at most 1 % of the values; the others:"
    )
    kinds = collections.Counter(what.split(":")[0] for share, what, _ in apart if share > 0.01)
    for kind, count in kinds.most_common():
        example = next(number for share, what, number in apart if share > 0.01 and what.startswith(kind))
        print(f"{count:6}  {kind}, such as {example}")
    print("disagreements:")
    for key, found in sorted(classes.items(), key=lambda item: -len(item[1])):
        print(f"{len(found):6}  {key}")
        for what, number, why in found[:2]:
            print(f"          {number}: {what}  {why}")
    return 0
