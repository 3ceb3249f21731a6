//! Draws a day as an SVG: load, replicas, waiting images and replica hours, one chart above the other.
//!
//! The colours are from the palette of Okabe and Ito, which colour-blind people can distinguish. The lines also differ in
//! their dashes.

use crate::{
    autoscaler::Seconds,
    day::{Moment, Outcome},
    load::Load,
};
use plotters::{
    coord::Shift,
    element::DashedPathElement,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

/// Width and height of the drawing, in pixels.
const SIZE: (u32, u32) = (900, 730);
const HEADER_HEIGHT: u32 = 84;
const FONT: &str = "sans-serif";
const FONT_SIZE: u32 = 13;
/// The most points of a curve.
const COLUMNS: Seconds = 240;

const GREY: RGBColor = RGBColor(0x57, 0x60, 0x6a);
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const VERMILION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);

/// How a line is drawn.
#[derive(Clone, Copy)]
struct Pen {
    colour: RGBColor,
    /// Lengths of the dashes and of the gaps, in pixels; `None` is a solid line.
    dashes: Option<(u32, u32)>,
}

const LOAD: Pen = Pen {
    colour: GREY,
    dashes: None,
};
const CPU: Pen = Pen {
    colour: BLUE,
    dashes: Some((7, 3)),
};
const KEDA: Pen = Pen {
    colour: VERMILION,
    dashes: None,
};
const ORACLE: Pen = Pen {
    colour: GREY,
    dashes: Some((2, 3)),
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A pen, and the value that it draws for each moment.
type Line<'a> = (Pen, &'a [Moment], fn(&Moment) -> f64);
/// A time and a value.
type Point = (Seconds, f64);

struct Chart<'a> {
    title: String,
    kind: Kind,
    lines: Vec<Line<'a>>,
}

#[derive(PartialEq)]
enum Kind {
    Steps,
    Curve,
    /// A sum that is 0 at the left edge.
    Sum,
}

/// Draws both autoscalers under one load.
///
/// # Errors
/// If plotters fails, which it does not when it draws into a string.
pub fn draw(load: Load, model: &str, cpu: &Outcome, keda: &Outcome) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let (header, body) = area.split_vertically(HEADER_HEIGHT);
        let title = format!("{}: {} ({model})", load.name(), load.about());
        draw_header(&header, &title, cpu, keda)?;
        let charts = charts(load, cpu, keda);
        for (chart, area) in charts.iter().zip(body.split_evenly((charts.len(), 1))) {
            chart.draw(&area, load.span())?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn draw_header(area: &Area, title: &str, cpu: &Outcome, keda: &Outcome) -> anyhow::Result<()> {
    let anchor = Pos::new(HPos::Left, VPos::Center);
    let font = |size| TextStyle::from((FONT, size)).color(&GREY).pos(anchor);
    area.draw(&Text::new(title, (8, 16), font(FONT_SIZE + 3)))?;
    let legend = [
        (CPU, format!("by processor time: {}", summary(cpu))),
        (KEDA, format!("by what waits (KEDA): {}", summary(keda))),
        (ORACLE, "oracle".to_owned()),
    ];
    for (row, (pen, text)) in (0..).zip(legend) {
        let y = 38 + row * 18;
        let style = pen.colour.stroke_width(2);
        let (size, gap) = pen.dashes.unwrap_or((32, 0));
        let sample = DashedPathElement::new([(8, y), (40, y)], size, gap, style);
        area.draw(&sample)?;
        area.draw(&Text::new(text, (48, y), font(FONT_SIZE)))?;
    }
    Ok(())
}

fn summary(outcome: &Outcome) -> String {
    let late = if outcome.late > 0.0 {
        format!("{:.2} %", outcome.late * 100.0)
    } else {
        "none".to_owned()
    };
    let count =
        |count: usize, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    format!(
        "longest wait {} s, {late} over a minute; {:.1} replica hours, {:.2} of the oracle's; {}, {}",
        outcome.wait_max,
        outcome.replica_hours,
        outcome.cost,
        count(outcome.changes, "change"),
        count(outcome.turns, "turn"),
    )
}

fn charts<'a>(load: Load, cpu: &'a Outcome, keda: &'a Outcome) -> [Chart<'a>; 4] {
    let chart = |title: &str, kind, lines| Chart {
        title: title.to_owned(),
        kind,
        lines,
    };
    let both = |value: fn(&Moment) -> f64| -> [Line<'a>; 2] {
        [(CPU, &*cpu.moments, value), (KEDA, &*keda.moments, value)]
    };
    let with_oracle = |oracle: fn(&Moment) -> f64, value| {
        let first: Line = (ORACLE, &cpu.moments, oracle);
        [first].into_iter().chain(both(value)).collect()
    };
    let arrivals: Line = (LOAD, &cpu.moments, |moment| moment.load);
    [
        chart("images a second that arrive", Kind::Steps, vec![arrivals]),
        chart(
            "replicas",
            Kind::Steps,
            with_oracle(|moment| moment.oracle, |moment| moment.pods),
        ),
        chart(
            "images that wait",
            Kind::Curve,
            both(|moment| moment.lag).into(),
        ),
        chart(
            &format!("replica hours since {}", clock(load.span().0)),
            Kind::Sum,
            with_oracle(|moment| moment.oracle_hours, |moment| moment.pod_hours),
        ),
    ]
}

impl Chart<'_> {
    fn draw(&self, area: &Area, span: (Seconds, Seconds)) -> anyhow::Result<()> {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| (line.0, self.points(line, span)))
            .collect();
        let highest = lines
            .iter()
            .flat_map(|(_, points)| points.iter().map(|(_, value)| *value))
            .fold(1.0, f64::max);
        let times = (span.0..span.1).with_key_points(times(span));
        let mut chart = ChartBuilder::on(area)
            .margin_right(30)
            .caption(&self.title, (FONT, FONT_SIZE + 1).with_color(GREY))
            .x_label_area_size(24)
            .y_label_area_size(64)
            .build_cartesian_2d(times, 0.0..highest * 1.05)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GREY.mix(0.25))
            .light_line_style(TRANSPARENT)
            .axis_style(GREY)
            .label_style((FONT, FONT_SIZE).with_color(GREY))
            .y_labels(5)
            .y_label_formatter(&|value| thousands(*value))
            .x_label_formatter(&|at| clock(*at))
            .draw()?;
        for (pen, points) in lines {
            let style = pen.colour.stroke_width(2);
            match pen.dashes {
                None => chart.draw_series(LineSeries::new(points, style))?,
                Some((size, gap)) => {
                    let points = points.into_iter();
                    chart.draw_series(DashedLineSeries::new(points, size, gap, style))?
                }
            };
        }
        Ok(())
    }

    /// The points of a line within `span`.
    fn points(&self, (_, moments, value): &Line, span: (Seconds, Seconds)) -> Vec<Point> {
        let shown = moments
            .iter()
            .filter(|moment| (span.0..span.1).contains(&moment.at));
        let mut points: Vec<_> = shown.map(|moment| (moment.at, value(moment))).collect();
        if let (Kind::Sum, Some(&(_, first))) = (&self.kind, points.first()) {
            points.iter_mut().for_each(|(_, value)| *value -= first);
        }
        match self.kind {
            Kind::Steps => steps(&points, span),
            Kind::Curve | Kind::Sum => curve(&points, span),
        }
    }
}

/// The corners of a step line, or a curve if there are too many.
fn steps(points: &[Point], span: (Seconds, Seconds)) -> Vec<Point> {
    let changes = points.windows(2).filter(|pair| pair[0].1 != pair[1].1);
    let corners: Vec<_> = changes
        .flat_map(|pair| [(pair[1].0, pair[0].1), pair[1]])
        .collect();
    if corners.len() > 4 * COLUMNS as usize {
        return curve(points, span);
    }
    let first = points.first().copied();
    let last = points.last().map(|(_, value)| (span.1, *value));
    first.into_iter().chain(corners).chain(last).collect()
}

/// The highest value of each column.
fn curve(points: &[Point], span: (Seconds, Seconds)) -> Vec<Point> {
    let width = ((span.1 - span.0) / COLUMNS).max(1);
    points
        .chunk_by(|first, second| first.0 / width == second.0 / width)
        .map(|column| {
            let highest = column.iter().map(|(_, value)| *value).fold(0.0, f64::max);
            (column[0].0, highest)
        })
        .collect()
}

/// At most ten times for the labels of the axis.
fn times(span: (Seconds, Seconds)) -> Vec<Seconds> {
    let few = |every: &Seconds| (span.1 - span.0) / every <= 9;
    let every = [600, 1200, 3600, 10_800].into_iter().find(few);
    let every = every.unwrap_or(10_800);
    (span.0..=span.1).filter(|at| at % every == 0).collect()
}

fn clock(at: Seconds) -> String {
    format!("{}:{:02}", at / 3600, at / 60 % 60)
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
    fn labels_are_readable() {
        let values = [0.0, 950.0, 70_824.0];
        assert_eq!(values.map(thousands), ["0", "950", "70,824"]);
        assert_eq!(
            times((35_400, 37_800)),
            [35_400, 36_000, 36_600, 37_200, 37_800]
        );
        assert_eq!(times((0, 86_400)).len(), 9);
    }

    #[test]
    fn a_step_line_has_a_corner_where_the_value_changes() {
        let points = [(0, 1.0), (5, 1.0), (10, 3.0), (15, 3.0)];
        let corners = [(0, 1.0), (10, 1.0), (10, 3.0), (20, 3.0)];
        assert_eq!(steps(&points, (0, 20)), corners);
    }
}
