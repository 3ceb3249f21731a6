"""What lies around a subject: backgrounds, things in front of it, light, and the camera's flaws.

Backgrounds hold none of the subjects, so that an image has one right answer.
"""
import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from subjects import colour, shade


def background(rng, size):
    """An RGB picture of `size` (width, height); drawn small and enlarged, so a little out of focus."""
    scale = min(1.0, rng.uniform(250, 700) / max(size))
    small = (max(48, round(size[0] * scale)), max(48, round(size[1] * scale)))
    kind = rng.choice([street, wall, patches], p=[0.6, 0.2, 0.2])
    return kind(rng, small).resize(size, Image.Resampling.BILINEAR)


def gradient(top, bottom, size):
    """A vertical run from one colour to another."""
    strip = Image.new("RGB", (1, 2))
    strip.putpixel((0, 0), top)
    strip.putpixel((0, 1), bottom)
    return strip.resize(size, Image.Resampling.BILINEAR)


def street(rng, size):
    """Sky with clouds, a skyline or hills, ground and a road with a broken line."""
    width, height = size
    horizon = height * rng.uniform(0.35, 0.7)
    sky = colour(rng, rng.choice([25, 205, 215]), 12, (0.1, 0.55), (0.6, 0.95))
    picture = gradient(sky, shade(sky, rng.uniform(0.9, 1.25)), size)
    pencil = ImageDraw.Draw(picture)
    clouds(rng, pencil, width, horizon)
    (skyline if rng.random() < 0.5 else hills)(rng, pencil, width, horizon)
    ground = colour(rng, rng.choice([35, 75, 100]), 15, (0.1, 0.5), (0.35, 0.65))
    pencil.rectangle([0, horizon, width, height], fill=ground)
    road(rng, pencil, width, height, horizon)
    return picture


def clouds(rng, pencil, width, horizon):
    for _ in range(int(rng.integers(0, 4))):
        x, y, w = rng.uniform(0, width), rng.uniform(0, horizon * 0.8), rng.uniform(0.1, 0.3) * width
        grey = shade((1, 1, 1), rng.integers(190, 250))
        for dx in (-0.4, 0.0, 0.35):
            h = w * rng.uniform(0.15, 0.3)
            pencil.ellipse([x + (dx - 0.4) * w, y - h, x + (dx + 0.4) * w, y + h], fill=grey)


def hills(rng, pencil, width, horizon):
    for depth in range(int(rng.integers(1, 4))):
        tone = colour(rng, rng.choice([95, 120, 200]), 20, (0.1, 0.4), (0.35, 0.65))
        phase, rise, waves = rng.uniform(0, 6), horizon * rng.uniform(0.05, 0.25), rng.uniform(2, 6)
        xs = np.linspace(0, width, 24)
        ys = horizon - rise * (1.1 + np.sin(phase + waves * xs / width)) / (1 + depth)
        pencil.polygon([(0, horizon + 1), *zip(xs, ys), (width, horizon + 1)], fill=tone)


def skyline(rng, pencil, width, horizon):
    """Flat-roofed blocks, some with windows."""
    x = -rng.uniform(0, 0.1) * width
    while x < width:
        w, top = rng.uniform(0.08, 0.25) * width, horizon * rng.uniform(0.2, 0.9)
        tone = colour(rng, rng.choice([20, 40, 220]), 15, (0.05, 0.35), (0.3, 0.75))
        pencil.rectangle([x, top, x + w, horizon], fill=tone)
        if rng.random() < 0.6:
            windows(pencil, (x, top, x + w, horizon), width * 0.025, shade(tone, rng.choice([0.7, 1.25])))
        x += w * rng.uniform(0.95, 1.3)


def windows(pencil, box, step, tone):
    left, top, right, bottom = box
    for y in np.arange(top + step, bottom - step, 1.8 * step):
        for x in np.arange(left + step, right - step, 1.8 * step):
            pencil.rectangle([x, y, x + 0.8 * step, y + step], fill=tone)


def road(rng, pencil, width, height, horizon):
    grey = shade((1, 1, 1.04), rng.integers(70, 130))
    vanish, near, reach = width * rng.uniform(0.3, 0.7), width * rng.uniform(0.2, 0.8), width * rng.uniform(0.3, 0.8)
    pencil.polygon([(vanish - 2, horizon), (vanish + 2, horizon), (near + reach, height), (near - reach, height)], fill=grey)
    for k in range(6):
        near_end, far_end = [((k + part) / 6) ** 2 for part in (0.55, 0.0)]
        points = []
        for depth, side in ((far_end, -1), (far_end, 1), (near_end, 1), (near_end, -1)):
            half = side * 0.02 * reach * depth
            points.append((vanish + (near - vanish) * depth + half, horizon + (height - horizon) * depth))
        pencil.polygon(points, fill=(215, 215, 205))


def wall(rng, size):
    """Bricks or boards in one tone."""
    width, height = size
    tone = colour(rng, rng.uniform(0, 360), 0, (0.03, 0.4), (0.35, 0.85))
    picture = gradient(tone, shade(tone, rng.uniform(0.75, 1.1)), size)
    pencil = ImageDraw.Draw(picture)
    course = height * rng.uniform(0.04, 0.12)
    seam = shade(tone, rng.choice([0.8, 1.15]))
    bricks = rng.random() < 0.6
    for row, y in enumerate(np.arange(0, height, course)):
        pencil.line([0, y, width, y], fill=seam, width=2)
        if bricks:
            for x in np.arange((row % 2) * course, width, 2 * course):
                pencil.line([x, y, x, y + course], fill=seam, width=2)
    return picture


def patches(rng, size):
    """Soft blots of muted colours, as of a background far out of focus."""
    base = np.array(colour(rng, rng.uniform(0, 360), 0, (0.1, 0.5), (0.3, 0.8)))
    cells = rng.normal(0, 28, (int(rng.integers(4, 9)), int(rng.integers(4, 9)), 3)) + base
    return Image.fromarray(np.clip(cells, 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def occlude(rng, picture, box):
    """Twigs, leaves or spots over the subject in `box` (left, top, side), covering at most a tenth of it."""
    left, top, side = box
    pencil = ImageDraw.Draw(picture)
    tone = colour(rng, rng.choice([30, 90, 110]), 15, (0.2, 0.6), (0.15, 0.5))
    if rng.random() < 0.5:
        x, lean = left + rng.uniform(0, 1) * side, rng.uniform(-0.5, 0.5) * side
        pencil.line([x, top - 0.1 * side, x + lean, top + 1.1 * side], fill=tone, width=max(2, int(side * rng.uniform(0.01, 0.035))))
    for _ in range(int(rng.integers(2, 9))):
        x, y, r = left + rng.uniform(0, 1) * side, top + rng.uniform(0, 1) * side, side * rng.uniform(0.01, 0.04)
        pencil.ellipse([x - r, y - r * 0.6, x + r, y + r * 0.6], fill=shade(tone, rng.uniform(0.8, 1.4)))


def light(rng, picture):
    """Exposure, contrast, a tint and haze in one table; then, half the time, an uneven fall of light."""
    exposure = rng.uniform(0.4, 0.65) if rng.random() < 0.15 else rng.uniform(0.7, 1.15)
    gamma, haze = rng.uniform(0.8, 1.25), rng.uniform(0, 0.35) * (rng.random() < 0.25)
    levels = np.arange(256) / 255
    table = []
    for tint in rng.uniform(0.92, 1.08, 3):
        curve = levels**gamma * exposure * tint
        table.append(curve * (1 - haze) + 0.75 * haze)
    picture = picture.point(list(np.clip(np.concatenate(table) * 255, 0, 255).astype(int)))
    if rng.random() < 0.5:
        fall = Image.fromarray(rng.integers(150, 256, (3, 3)).astype(np.uint8)).resize(picture.size, Image.Resampling.BILINEAR)
        picture = ImageChops.multiply(picture, Image.merge("RGB", [fall] * 3))
    return picture


def camera(rng, picture):
    """Blur for some pictures and noise for most."""
    if rng.random() < 0.35:
        picture = picture.filter(ImageFilter.BoxBlur(min(picture.size) * rng.uniform(0.001, 0.008)))
    strength = rng.uniform(0, 16)
    tile = np.clip(rng.normal(128, strength, (160, 160, 3)), 0, 255).astype(np.uint8)
    repeats = (-(-picture.height // 160), -(-picture.width // 160), 1)
    noise = Image.fromarray(np.tile(tile, repeats)[: picture.height, : picture.width])
    return ImageChops.add(picture, noise, 1.0, -128)
