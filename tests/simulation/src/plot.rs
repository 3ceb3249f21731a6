//! A day as an SVG: load, replicas, images that wait, and what it cost, one above the other.
//!
//! Colours are Okabe and Ito's, which the colour-blind tell apart; the lines differ in their dashes too. The background is
//! left to the page, light or dark.

use crate::{
    autoscaler::Seconds,
    day::{Moment, Outcome},
    load::Load,
};
use std::fmt::Write;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 100.0;
const PANEL: f64 = 110.0;
const GAP: f64 = 46.0;
/// Points of a line.
const COLUMNS: Seconds = 240;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-size:15px;font-weight:600}\
.grid{stroke:#8c959f;stroke-opacity:.35}.axis{stroke:#8c959f}\
path{fill:none;stroke-width:1.8;stroke-linejoin:round}\
.load{stroke:#57606a}.cpu{stroke:#0072b2;stroke-dasharray:7 3}.keda{stroke:#d55e00}.oracle{stroke:#57606a;stroke-dasharray:2 3}\
@media(prefers-color-scheme:dark){text{fill:#adb5bf}.load,.oracle{stroke:#adb5bf}.cpu{stroke:#56b4e9}.keda{stroke:#e69f00}}";

/// A line: its class in the style, and what of a moment it shows.
type Line<'a> = (&'a str, &'a [Moment], fn(&Moment) -> f64);

struct Panel<'a> {
    title: String,
    kind: Kind,
    lines: Vec<Line<'a>>,
}

#[derive(PartialEq)]
enum Kind {
    Steps,
    Curve,
    /// What is added from the left edge on.
    Sum,
}

/// Both autoscalers under one load.
pub fn draw(load: Load, model: &str, cpu: &Outcome, keda: &Outcome) -> String {
    let panel = |title: &str, kind, lines| Panel {
        title: title.to_owned(),
        kind,
        lines,
    };
    let both = |value: fn(&Moment) -> f64| {
        [
            ("cpu", &*cpu.moments, value),
            ("keda", &*keda.moments, value),
        ]
    };
    let with_oracle = |oracle: fn(&Moment) -> f64, value| {
        let first: Line = ("oracle", &cpu.moments, oracle);
        [first].into_iter().chain(both(value)).collect()
    };
    let arrive: Line = ("load", &cpu.moments, |moment| moment.load);
    let panels = [
        panel("images a second that arrive", Kind::Steps, vec![arrive]),
        panel(
            "replicas",
            Kind::Steps,
            with_oracle(|moment| moment.oracle, |moment| moment.pods),
        ),
        panel(
            "images that wait",
            Kind::Curve,
            both(|moment| moment.lag).into(),
        ),
        panel(
            &format!("replica hours since {}", clock(load.span().0)),
            Kind::Sum,
            with_oracle(|moment| moment.oracle_hours, |moment| moment.pod_hours),
        ),
    ];
    let height = TOP + panels.len() as f64 * (PANEL + GAP);
    let mut svg = String::new();
    let out = &mut svg;
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\
         <title>{0}: {1}</title><style>{STYLE}</style>",
        load.name(),
        load.about(),
    );
    text(
        out,
        8.0,
        22.0,
        "start",
        "title",
        &format!("{}: {} ({model})", load.name(), load.about()),
    );
    for (row, (class, name, outcome)) in [
        ("cpu", "by processor time", Some(cpu)),
        ("keda", "by what waits (KEDA)", Some(keda)),
        ("oracle", "oracle", None),
    ]
    .into_iter()
    .enumerate()
    {
        let y = 42.0 + row as f64 * 18.0;
        let _ = writeln!(out, "<path class=\"{class}\" d=\"M8 {0}H40\"/>", y - 4.0);
        let about = outcome.map_or_else(String::new, summary);
        text(out, 48.0, y, "start", "", &format!("{name}{about}"));
    }
    for (index, panel) in panels.iter().enumerate() {
        let top = TOP + index as f64 * (PANEL + GAP) + 14.0;
        panel.draw(out, load.span(), top);
    }
    svg.push_str("</svg>\n");
    svg
}

fn summary(outcome: &Outcome) -> String {
    let late = match outcome.late > 0.0 {
        true => format!("{:.2} %", outcome.late * 100.0),
        false => "none".to_owned(),
    };
    let count =
        |count: usize, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    format!(
        ": longest wait {} s, {late} over a minute; {:.1} replica hours, {:.2} of the oracle's; {}, {}",
        outcome.wait_max,
        outcome.replica_hours,
        outcome.cost,
        count(outcome.changes, "change"),
        count(outcome.turns, "turn"),
    )
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
    let class = match class {
        "" => String::new(),
        class => format!(" class=\"{class}\""),
    };
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\"{class}>{text}</text>"
    );
}

impl Panel<'_> {
    fn points(&self, (_, moments, value): &Line, span: (Seconds, Seconds)) -> Vec<(Seconds, f64)> {
        let shown = moments
            .iter()
            .filter(|moment| (span.0..span.1).contains(&moment.at));
        let mut points: Vec<_> = shown.map(|moment| (moment.at, value(moment))).collect();
        if let (Kind::Sum, Some(&(_, first))) = (&self.kind, points.first()) {
            points.iter_mut().for_each(|(_, value)| *value -= first);
        }
        points
    }

    fn draw(&self, out: &mut String, span: (Seconds, Seconds), top: f64) {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| (line.0, self.points(line, span)))
            .collect();
        let values = lines
            .iter()
            .flat_map(|(_, points)| points.iter().map(|(_, value)| *value));
        let highest = values.fold(0.0, f64::max);
        let step = step(highest / 3.5);
        let most = (highest / step).ceil().max(1.0) * step;
        let length = (span.1 - span.0) as f64;
        let x = |at: Seconds| LEFT + (at - span.0) as f64 / length * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| top + PANEL * (1.0 - value / most);
        text(out, LEFT, top - 7.0, "start", "", &self.title);
        let ticks = (most / step).round() as i32;
        for tick in (0..=ticks).map(|tick| f64::from(tick) * step) {
            let (at, right) = (y(tick), WIDTH - RIGHT);
            let class = if tick == 0.0 { "axis" } else { "grid" };
            let _ = writeln!(
                out,
                "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
            );
            text(
                out,
                LEFT - 6.0,
                (at + 4.0).round(),
                "end",
                "",
                &thousands(tick),
            );
        }
        let few = |every: &Seconds| (span.1 - span.0) / every <= 9;
        let every = [600, 1200, 3600, 10_800]
            .into_iter()
            .find(few)
            .unwrap_or(10_800);
        for at in (span.0..=span.1).filter(|at| at % every == 0) {
            text(
                out,
                x(at).round(),
                top + PANEL + 15.0,
                "middle",
                "",
                &clock(at),
            );
        }
        for (class, points) in lines {
            let path = match self.kind {
                Kind::Steps => stairs(&points, span, &x, &y),
                Kind::Curve | Kind::Sum => curve(&points, span, &x, &y),
            };
            let _ = writeln!(out, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
}

/// Only where it changes; a curve that always does, by columns.
fn stairs(
    moments: &[(Seconds, f64)],
    span: (Seconds, Seconds),
    x: &dyn Fn(Seconds) -> f64,
    y: &dyn Fn(f64) -> f64,
) -> String {
    let changes: Vec<_> = moments
        .windows(2)
        .filter(|pair| pair[0].1 != pair[1].1)
        .map(|pair| pair[1])
        .collect();
    if changes.len() > 2 * COLUMNS as usize {
        return curve(moments, span, x, y);
    }
    let mut path = String::new();
    if let Some((at, value)) = moments.first() {
        let _ = write!(path, "M{:.1} {:.1}", x(*at), y(*value));
    }
    for (at, value) in changes {
        let _ = write!(path, "H{:.1}V{:.1}", x(at), y(value));
    }
    let _ = write!(path, "H{:.1}", x(span.1));
    path
}

/// The highest of each column.
fn curve(
    moments: &[(Seconds, f64)],
    span: (Seconds, Seconds),
    x: &dyn Fn(Seconds) -> f64,
    y: &dyn Fn(f64) -> f64,
) -> String {
    let width = ((span.1 - span.0) / COLUMNS).max(1);
    let mut path = String::new();
    for column in moments.chunk_by(|first, second| first.0 / width == second.0 / width) {
        let highest = column.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let letter = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{:.1} {:.1}", x(column[0].0), y(highest));
    }
    path
}

fn clock(at: Seconds) -> String {
    format!("{}:{:02}", at / 3600, at / 60 % 60)
}

/// 1, 2 or 5 times a power of ten, not below.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-9).log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= least * 0.999);
    (factor.unwrap_or(10.0) * power).max(1.0)
}

fn thousands(value: f64) -> String {
    let text = format!("{value:.0}");
    match text.len() {
        0..=3 => text,
        length => format!("{},{}", &text[..length - 3], &text[length - 3..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            [0.2, 1.0, 1.1, 3.4, 7.0, 31.0, 600.0].map(step),
            [1.0, 1.0, 2.0, 5.0, 10.0, 50.0, 1000.0]
        );
        assert_eq!(
            [0.0, 950.0, 70_824.0].map(thousands),
            ["0", "950", "70,824"]
        );
    }

    #[test]
    fn stairs_turn_where_the_value_does() {
        let path = stairs(
            &[(0, 1.0), (5, 1.0), (10, 3.0), (15, 3.0)],
            (0, 20),
            &|at| at as f64,
            &|value| value,
        );
        assert_eq!(path, "M0.0 1.0H10.0V3.0H20.0");
    }
}
