"""The sixteen things the demo model knows, as drawings.

Each drawing function gets a `Pen` and a random generator and fills the unit square (x to the right, y
down) with one subject, differing in shape, colour and detail from call to call. `SUBJECTS` maps label to
function; its order is the order of the model's classes.
"""
import colorsys
import math

from PIL import Image, ImageDraw, ImageFont

WHITE, BLACK = (240, 240, 236), (22, 22, 24)


def colour(rng, hue, spread=8, saturation=(0.7, 0.95), value=(0.6, 0.9)):
    """An RGB triple near `hue` (degrees), with saturation and value drawn from their ranges."""
    h = (hue + rng.uniform(-spread, spread)) % 360 / 360
    return tuple(int(255 * c) for c in colorsys.hsv_to_rgb(h, rng.uniform(*saturation), rng.uniform(*value)))


def shade(rgb, factor):
    """`rgb` made darker (factor < 1) or brighter (factor > 1)."""
    return tuple(min(255, int(c * factor)) for c in rgb)


def paint(rng):
    """A colour that vehicles come in: mostly saturated, sometimes white, silver or dark."""
    if rng.random() < 0.3:
        return shade((1, 1, 1), rng.choice([45, 120, 185, 232]))
    return colour(rng, rng.uniform(0, 360), 0, (0.45, 0.95), (0.45, 0.9))


class Pen:
    """Draws shapes given in the unit square on a transparent picture of `side` pixels."""

    def __init__(self, side):
        self.side = side
        self.image = Image.new("RGBA", (side, side))
        self.canvas = ImageDraw.Draw(self.image)

    def _pixels(self, points):
        return [(x * self.side, y * self.side) for x, y in points]

    def polygon(self, points, fill):
        self.canvas.polygon(self._pixels(points), fill=fill)

    def rectangle(self, x0, y0, x1, y1, fill, radius=0.0):
        self.canvas.rounded_rectangle(self._pixels([(x0, y0), (x1, y1)]), radius * self.side, fill=fill)

    def disc(self, x, y, r, fill):
        self.ellipse(x, y, r, r, fill)

    def ellipse(self, x, y, rx, ry, fill):
        self.canvas.ellipse(self._pixels([(x - rx, y - ry), (x + rx, y + ry)]), fill=fill)

    def ring(self, x, y, r, width, fill):
        box = self._pixels([(x - r, y - r), (x + r, y + r)])
        self.canvas.ellipse(box, outline=fill, width=max(1, round(width * self.side)))

    def arc(self, x, y, r, start, end, width, fill):
        box = self._pixels([(x - r, y - r), (x + r, y + r)])
        self.canvas.arc(box, start, end, fill=fill, width=max(1, round(width * self.side)))

    def line(self, points, width, fill):
        self.canvas.line(self._pixels(points), fill=fill, width=max(1, round(width * self.side)), joint="curve")
        for x, y in points:
            self.disc(x, y, width / 2, fill)

    def text(self, x, y, height, words, fill):
        """`words` centred on (x, y), with capitals about `height` tall."""
        font = ImageFont.load_default(size=height * self.side * 1.4)
        self.canvas.text((x * self.side, y * self.side), words, fill=fill, font=font, anchor="mm",
                         stroke_width=round(height * self.side * 0.05))

    def regular(self, x, y, r, corners, turn, fill):
        """A regular polygon about (x, y); `turn` in degrees places the first corner."""
        angles = [math.radians(turn + 360 * k / corners) for k in range(corners)]
        self.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for a in angles], fill)


def post(pen, rng, top, width=0.05):
    """A sign's post from `top` to the lower edge, there three times out of four."""
    if rng.random() < 0.75:
        grey = shade((1, 1, 1), rng.integers(90, 175))
        pen.rectangle(0.5 - width / 2, top, 0.5 + width / 2, 1.0, grey)


# Traffic lights


def traffic_light(lit):
    """The drawing function of a traffic light whose lamp number `lit` (0 at the top) shines."""

    def draw(pen, rng):
        post(pen, rng, 0.8, 0.06)
        half = rng.uniform(0.15, 0.19)
        if rng.random() < 0.35:
            pen.rectangle(0.5 - half - 0.07, 0.0, 0.5 + half + 0.07, 0.94, WHITE, 0.05)
            pen.rectangle(0.5 - half - 0.055, 0.015, 0.5 + half + 0.055, 0.925, BLACK, 0.04)
        housing = shade((1.0, 1.06, 1.03), rng.integers(24, 62))
        pen.rectangle(0.5 - half, 0.03, 0.5 + half, 0.91, housing, rng.uniform(0.01, 0.1))
        radius = rng.uniform(0.105, 0.13)
        for place, hue in enumerate((0, 44, 145)):
            y = 0.175 + 0.295 * place
            if place == lit:
                lamp_lit(pen, rng, y, radius, hue, housing)
            else:
                pen.disc(0.5, y, radius, colour(rng, hue, 6, (0.3, 0.7), (0.1, 0.24)))
            if rng.random() < 0.9:
                pen.arc(0.5, y, radius + 0.015, 180, 360, 0.018, BLACK)

    return draw


def lamp_lit(pen, rng, y, radius, hue, housing):
    """A shining lamp: a halo on the housing, the full colour, and a paler middle."""
    glow = colour(rng, hue, 5, (0.85, 1.0), (0.93, 1.0))
    halo = tuple((g + 2 * h) // 3 for g, h in zip(glow, housing))
    pen.disc(0.5, y, min(radius + 0.03, 0.145), halo)
    pen.disc(0.5, y, radius, glow)
    pale = tuple((g * 3 + 255) // 4 for g in glow)
    pen.disc(0.5, y, radius * rng.uniform(0.3, 0.6), pale)


# Signs


def stop(pen, rng):
    post(pen, rng, 0.7)
    red = colour(rng, 357, 7, (0.8, 0.95), (0.62, 0.82))
    pen.regular(0.5, 0.45, 0.45, 8, 22.5, WHITE)
    pen.regular(0.5, 0.45, rng.uniform(0.41, 0.43), 8, 22.5, red)
    pen.text(0.5, 0.45, rng.uniform(0.19, 0.23), "STOP", WHITE)


def give_way(pen, rng):
    post(pen, rng, 0.6)
    red = colour(rng, 357, 7, (0.8, 0.95), (0.65, 0.85))
    middle = WHITE if rng.random() < 0.75 else colour(rng, 50, 4, (0.6, 0.85), (0.9, 0.97))
    for inset, fill in ((0.0, WHITE), (0.02, red), (rng.uniform(0.12, 0.16), middle)):
        pen.polygon([(0.02 + 1.73 * inset, 0.06 + inset), (0.98 - 1.73 * inset, 0.06 + inset),
                     (0.5, 0.89 - 2 * inset)], fill)


def speed_limit(pen, rng):
    post(pen, rng, 0.7)
    pen.disc(0.5, 0.45, 0.44, colour(rng, 357, 7, (0.8, 0.95), (0.65, 0.88)))
    pen.disc(0.5, 0.45, rng.uniform(0.33, 0.36), WHITE)
    number = str(rng.choice([20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130]))
    pen.text(0.5, 0.45, 0.3 if len(number) == 2 else 0.22, number, BLACK)


def no_entry(pen, rng):
    post(pen, rng, 0.7)
    pen.disc(0.5, 0.45, 0.45, WHITE)
    pen.disc(0.5, 0.45, 0.435, colour(rng, 357, 7, (0.8, 0.95), (0.65, 0.88)))
    half = rng.uniform(0.06, 0.085)
    pen.rectangle(0.17, 0.45 - half, 0.83, 0.45 + half, WHITE, rng.uniform(0, 0.02))


def pedestrian_crossing(pen, rng):
    """A walker: on a white triangle in a blue square, or on a yellow diamond."""
    post(pen, rng, 0.7)
    if rng.random() < 0.7:
        pen.rectangle(0.06, 0.02, 0.94, 0.9, WHITE, 0.05)
        pen.rectangle(0.08, 0.04, 0.92, 0.88, colour(rng, 216, 8, (0.75, 0.95), (0.55, 0.8)), 0.04)
        pen.polygon([(0.5, 0.09), (0.13, 0.82), (0.87, 0.82)], WHITE)
        walker(pen, rng, 0.5, 0.53, 0.5)
    else:
        pen.regular(0.5, 0.47, 0.47, 4, 0, BLACK)
        pen.regular(0.5, 0.47, 0.44, 4, 0, colour(rng, 49, 5, (0.8, 0.95), (0.85, 0.97)))
        walker(pen, rng, 0.5, 0.46, 0.56)
    for x in (0.3, 0.42, 0.54, 0.66):
        pen.rectangle(x, 0.755, x + 0.06, 0.785, BLACK)


def walker(pen, rng, x, y, height):
    """A striding figure `height` tall about (x, y), facing left or right."""
    facing = rng.choice([-1, 1])
    stride = rng.uniform(0.2, 0.28)

    def at(dx, dy):
        return x + facing * dx * height, y + dy * height

    pen.disc(*at(0.02, -0.4), 0.09 * height, BLACK)
    pen.line([at(0.0, -0.24), at(0.0, 0.04)], 0.15 * height, BLACK)
    pen.line([at(0.0, 0.05), at(0.1, 0.22), at(stride - 0.04, 0.42)], 0.085 * height, BLACK)
    pen.line([at(0.0, 0.05), at(-0.07, 0.24), at(-stride, 0.42)], 0.085 * height, BLACK)
    pen.line([at(0.02, -0.24), at(0.16, -0.08), at(0.24, -0.04)], 0.06 * height, BLACK)
    pen.line([at(-0.02, -0.24), at(-0.14, -0.08), at(-0.18, 0.04)], 0.06 * height, BLACK)


def roundabout(pen, rng):
    """Three white arrows chasing each other on a blue disc."""
    post(pen, rng, 0.7)
    pen.disc(0.5, 0.45, 0.45, WHITE)
    pen.disc(0.5, 0.45, 0.435, colour(rng, 216, 8, (0.75, 0.95), (0.55, 0.8)))
    start, r, width = rng.uniform(-15, 15), rng.uniform(0.24, 0.27), 0.08
    for k in range(3):
        a = start + 120 * k
        pen.arc(0.5, 0.45, r + width / 2, a, a + 72, width, WHITE)
        tip = [(a + 108, r), (a + 66, r - 0.105), (a + 66, r + 0.105)]
        pen.polygon([(0.5 + s * math.cos(math.radians(t)), 0.45 + s * math.sin(math.radians(t))) for t, s in tip], WHITE)


# Vehicles


def wheel(pen, rng, x, y, r):
    pen.disc(x, y, r, BLACK)
    pen.disc(x, y, r * rng.uniform(0.45, 0.65), shade((1, 1, 1), rng.integers(110, 200)))
    pen.disc(x, y, r * 0.2, (60, 60, 64))


def glass(rng):
    return colour(rng, 205, 15, (0.15, 0.45), (0.25, 0.85))


def car(pen, rng):
    (car_from_the_side if rng.random() < 0.65 else car_from_the_front)(pen, rng)


def car_from_the_side(pen, rng):
    body, pane = paint(rng), glass(rng)
    roof, waist, floor = rng.uniform(0.26, 0.32), rng.uniform(0.45, 0.5), 0.68
    bonnet, boot = rng.uniform(0.2, 0.28), rng.uniform(0.8, 0.95)
    front, back = bonnet + rng.uniform(0.1, 0.16), boot - rng.uniform(0.06, 0.14)
    pen.polygon([(bonnet, waist + 0.01), (front, roof), (back, roof), (boot, waist + 0.01)], body)
    pen.rectangle(0.02, waist, 0.98, floor, body, 0.06)
    pen.rectangle(0.03, floor - 0.06, 0.97, floor, shade(body, 0.7), 0.03)
    middle = (front + back) / 2
    pen.polygon([(bonnet + 0.05, waist), (front + 0.02, roof + 0.035), (middle - 0.012, roof + 0.035), (middle - 0.012, waist)], pane)
    pen.polygon([(middle + 0.012, waist), (middle + 0.012, roof + 0.035), (back - 0.02, roof + 0.035), (boot - 0.05, waist)], pane)
    pen.rectangle(middle + 0.03, waist + 0.045, middle + 0.09, waist + 0.06, shade(body, 0.5))
    pen.ellipse(0.045, waist + 0.07, 0.025, 0.03, (250, 240, 190))
    pen.rectangle(0.945, waist + 0.04, 0.98, waist + 0.1, (190, 25, 25))
    for x in (0.2, 0.79):
        pen.disc(x, floor, 0.115, shade(body, 0.35))
        wheel(pen, rng, x, floor + 0.01, rng.uniform(0.09, 0.105))


def car_from_the_front(pen, rng):
    body, pane = paint(rng), glass(rng)
    roof = rng.uniform(0.16, 0.22)
    for x in (0.12, 0.72):
        pen.rectangle(x, 0.68, x + 0.16, 0.88, BLACK, 0.03)
    pen.polygon([(0.13, 0.48), (0.26, roof), (0.74, roof), (0.87, 0.48)], body)
    pen.polygon([(0.2, 0.46), (0.29, roof + 0.04), (0.71, roof + 0.04), (0.8, 0.46)], pane)
    pen.rectangle(0.05, 0.44, 0.95, 0.79, body, 0.07)
    pen.rectangle(0.07, 0.69, 0.93, 0.78, shade(body, 0.65), 0.03)
    pen.rectangle(0.33, 0.55, 0.67, 0.64, shade((1, 1, 1), rng.integers(25, 75)), 0.02)
    pen.rectangle(0.38, 0.695, 0.62, 0.755, WHITE)
    for x in (0.18, 0.82):
        pen.ellipse(x, 0.575, 0.09, 0.055, (252, 246, 214))
        pen.rectangle(x * 1.24 - 0.16, 0.4, x * 1.24 - 0.08, 0.45, shade(body, 0.6), 0.02)


def bus(pen, rng):
    """A long box with a row of large windows, or its tall front with one wide screen."""
    (bus_from_the_side if rng.random() < 0.7 else bus_from_the_front)(pen, rng)


def bus_from_the_side(pen, rng):
    body, pane, floor = paint(rng), glass(rng), 0.76
    top = rng.uniform(0.22, 0.3)
    pen.rectangle(0.0, top, 1.0, floor, body, 0.04)
    if rng.random() < 0.6:
        pen.rectangle(0.0, 0.6, 1.0, 0.6 + rng.uniform(0.03, 0.07), paint(rng))
    count = int(rng.integers(5, 8))
    pitch = 0.8 / count
    for k in range(count):
        pen.rectangle(0.17 + k * pitch, top + 0.07, 0.17 + (k + 0.85) * pitch, 0.54, pane, 0.01)
    pen.rectangle(0.0, top + 0.06, 0.05, 0.58, pane, 0.01)
    pen.rectangle(0.07, top + 0.09, 0.15, floor - 0.03, shade(pane, 0.7))
    pen.rectangle(0.108, top + 0.09, 0.114, floor - 0.03, shade(body, 0.6))
    pen.rectangle(0.0, floor - 0.1, 0.025, floor - 0.05, (250, 240, 190))
    for x in (0.24, 0.8):
        pen.disc(x, floor, 0.085, shade(body, 0.35))
        wheel(pen, rng, x, floor + 0.01, 0.072)


def bus_from_the_front(pen, rng):
    body, pane = paint(rng), glass(rng)
    for x in (0.24, 0.64):
        pen.rectangle(x, 0.86, x + 0.12, 0.98, BLACK, 0.02)
    pen.rectangle(0.18, 0.04, 0.82, 0.92, body, 0.05)
    pen.rectangle(0.26, 0.08, 0.74, 0.16, BLACK, 0.01)
    pen.text(0.5, 0.12, 0.05, f"{rng.integers(1, 400)} CITY", (255, 190, 60))
    pen.rectangle(0.22, 0.2, 0.78, 0.58, pane, 0.03)
    pen.rectangle(0.495, 0.2, 0.505, 0.58, shade(body, 0.5))
    pen.rectangle(0.2, 0.8, 0.8, 0.88, shade(body, 0.6), 0.02)
    for x in (0.27, 0.73):
        pen.disc(x, 0.72, 0.04, (252, 246, 214))
    for x in (0.12, 0.83):
        pen.rectangle(x, 0.24, x + 0.05, 0.4, BLACK, 0.02)


def truck(pen, rng):
    """A cab before a closed, windowless load."""
    load, cab, floor = paint(rng), paint(rng), 0.74
    top = rng.uniform(0.16, 0.26)
    pen.rectangle(0.05, floor - 0.07, 0.98, floor, (50, 50, 54))
    pen.rectangle(0.31, top, 1.0, floor - 0.05, load, 0.01)
    for x in range(1, int(rng.integers(3, 7))):
        pen.rectangle(0.31 + x * 0.115, top, 0.315 + x * 0.115, floor - 0.05, shade(load, 0.8))
    if rng.random() < 0.5:
        pen.rectangle(0.31, 0.4, 1.0, 0.4 + rng.uniform(0.05, 0.14), paint(rng))
    roof = rng.uniform(0.3, 0.38)
    pen.polygon([(0.02, floor - 0.02), (0.02, 0.55), (0.1, roof), (0.28, roof), (0.28, floor - 0.02)], cab)
    pen.polygon([(0.05, 0.54), (0.115, roof + 0.04), (0.2, roof + 0.04), (0.2, 0.54)], glass(rng))
    pen.rectangle(0.02, 0.61, 0.05, 0.66, (250, 240, 190))
    for x in (0.15, 0.72, 0.88):
        wheel(pen, rng, x, floor + 0.02, 0.078)


def bicycle(pen, rng):
    frame = paint(rng) if rng.random() < 0.7 else BLACK
    r, width, y = rng.uniform(0.2, 0.225), rng.uniform(0.024, 0.034), 0.66
    back, front = (0.235, y), (0.765, y)
    pedals, seat = (0.47, y + 0.01), (0.4, rng.uniform(0.36, 0.4))
    head = (0.69, rng.uniform(0.36, 0.41))
    for x, _ in (back, front):
        for k in range(7):
            a = math.radians(180 * k / 7)
            dx, dy = r * math.cos(a), r * math.sin(a)
            pen.line([(x - dx, y - dy), (x + dx, y + dy)], 0.006, (165, 165, 168))
        pen.ring(x, y, r, width * 1.15, BLACK)
        pen.disc(x, y, 0.025, BLACK)
    pen.line([back, seat, head, pedals, seat], width, frame)
    pen.line([back, pedals], width, frame)
    pen.line([front, head, (head[0] - 0.015, head[1] - 0.08)], width, frame)
    bar = head[1] - 0.085
    pen.line([(head[0] - 0.07, bar + 0.01), (head[0], bar), (head[0] + 0.07, bar - 0.03)], width, BLACK)
    pen.line([seat, (seat[0] - 0.01, seat[1] - 0.06)], width, frame)
    pen.rectangle(seat[0] - 0.09, seat[1] - 0.085, seat[0] + 0.06, seat[1] - 0.05, BLACK, 0.015)
    pen.disc(*pedals, 0.045, (70, 70, 74))


# By the roadside


def tree(pen, rng):
    trunk = colour(rng, 28, 8, (0.35, 0.6), (0.25, 0.45))
    leaves = colour(rng, rng.choice([35, 80, 105, 125]), 12, (0.5, 0.85), (0.3, 0.65))
    if rng.random() < 0.4:
        conifer(pen, rng, trunk, leaves)
        return
    pen.polygon([(0.45, 0.5), (0.55, 0.5), (0.58, 1.0), (0.42, 1.0)], trunk)
    for dx in (-0.16, 0.16):
        pen.line([(0.5, 0.68), (0.5 + dx, 0.46)], 0.04, trunk)
    for _ in range(int(rng.integers(16, 30))):
        angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.27)
        x, y, r = 0.5 + reach * 1.2 * math.cos(angle), 0.33 + reach * 0.8 * math.sin(angle), rng.uniform(0.08, 0.15)
        pen.disc(min(max(x, r), 1 - r), max(y, r), r, shade(leaves, rng.uniform(0.75, 1.25)))


def conifer(pen, rng, trunk, leaves):
    pen.rectangle(0.45, 0.8, 0.55, 1.0, trunk)
    tiers = int(rng.integers(3, 6))
    for k in reversed(range(tiers)):
        top, bottom = 0.75 * k / tiers, 0.75 * (k + 1) / tiers + 0.12
        half = 0.13 + 0.25 * (k + 1) / tiers
        pen.polygon([(0.5, top), (0.5 - half, bottom), (0.5 + half, bottom)], shade(leaves, rng.uniform(0.8, 1.2)))


def traffic_cone(pen, rng):
    orange = colour(rng, 18, 7, (0.85, 1.0), (0.85, 1.0))
    top, half = rng.uniform(0.04, 0.1), rng.uniform(0.27, 0.33)

    def slice_of(upper, lower, fill):
        edge = [0.05 + (half - 0.05) * (y - top) / (0.86 - top) for y in (upper, lower)]
        pen.polygon([(0.5 - edge[0], upper), (0.5 + edge[0], upper), (0.5 + edge[1], lower), (0.5 - edge[1], lower)], fill)

    pen.rectangle(0.08, 0.84, 0.92, 0.95, shade(orange, 0.8) if rng.random() < 0.6 else (45, 45, 48), 0.03)
    slice_of(top, 0.86, orange)
    bands = [(0.28, 0.42), (0.56, 0.72)] if rng.random() < 0.7 else [(0.36, 0.58)]
    for upper, lower in bands:
        slice_of(upper, lower, WHITE)


def house(pen, rng):
    """Walls, a pitched roof, a door and windows."""
    wall = colour(rng, rng.choice([20, 40, 55, 200]), 10, (0.05, 0.4), (0.7, 0.95))
    roof = colour(rng, rng.choice([8, 18, 220]), 8, (0.2, 0.65), (0.3, 0.6))
    eaves, ridge = rng.uniform(0.42, 0.5), rng.uniform(0.04, 0.12)
    if rng.random() < 0.6:
        x = rng.choice([0.25, 0.66])
        pen.rectangle(x, ridge + 0.02, x + 0.09, eaves, shade(roof, 0.75))
    pen.rectangle(0.1, eaves - 0.02, 0.9, 0.97, wall)
    overhang = rng.uniform(0.0, 0.04)
    flat = rng.choice([0.0, 0.18])
    pen.polygon([(0.04 - overhang, eaves), (0.5 - flat, ridge), (0.5 + flat, ridge), (0.96 + overhang, eaves)], roof)
    pane, sill = glass(rng), shade(wall, 0.6)
    door = rng.choice([0.16, 0.42, 0.66])
    pen.rectangle(door, 0.67, door + 0.17, 0.97, colour(rng, rng.uniform(0, 360), 0, (0.3, 0.8), (0.25, 0.6)))
    for x in (0.16, 0.42, 0.66):
        if x != door:
            pen.rectangle(x - 0.012, 0.6, x + 0.182, 0.82, sill)
            pen.rectangle(x, 0.612, x + 0.08, 0.808, pane)
            pen.rectangle(x + 0.09, 0.612, x + 0.17, 0.808, pane)


SUBJECTS = {
    "traffic light red": traffic_light(0),
    "traffic light amber": traffic_light(1),
    "traffic light green": traffic_light(2),
    "stop": stop,
    "yield": give_way,
    "speed limit": speed_limit,
    "no entry": no_entry,
    "pedestrian crossing": pedestrian_crossing,
    "roundabout": roundabout,
    "car": car,
    "bus": bus,
    "truck": truck,
    "bicycle": bicycle,
    "tree": tree,
    "traffic cone": traffic_cone,
    "house": house,
}
LABELS = list(SUBJECTS)

# Words and the direction of the arrows don't survive a mirror.
MIRRORED = [name for name in LABELS if name not in ("stop", "speed limit", "roundabout")]
