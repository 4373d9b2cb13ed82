//! Plots of a few lines with error bars, as SVG: a logarithmic axis across, a linear one up.

use std::fmt::Write;

/// Size of a plot in pixels.
const SIZE: [f64; 2] = [760.0, 440.0];
/// Left, top, right, bottom; the legend is on the right.
const MARGINS: [f64; 4] = [64.0, 40.0, 190.0, 52.0];
/// Colours that are told apart by those who see fewer, too (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];

/// Lines over a logarithmic axis.
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What is across.
    pub x: String,
    /// What is up.
    pub y: String,
    /// Its curves.
    pub series: Vec<Series>,
}

/// A line.
pub struct Series {
    /// As the legend has it.
    pub name: String,
    /// From left to right.
    pub points: Vec<Point>,
}

/// A value, with its interval where it has one.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Above 0.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Interval of the value.
    pub interval: Option<[f64; 2]>,
}

/// Where values lie on the picture.
struct Frame {
    /// Logarithms to base 10.
    x: [f64; 2],
    y: [f64; 2],
}

impl Plot {
    /// The picture.
    pub fn svg(&self) -> String {
        let frame = self.frame();
        let mut out = String::new();
        let [width, height] = SIZE;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>"
        );
        self.axes(&frame, &mut out);
        for (index, series) in self.series.iter().enumerate() {
            series.draw(&frame, index, &mut out);
        }
        out.push_str("</svg>\n");
        out
    }

    fn frame(&self) -> Frame {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let range = |values: &mut dyn Iterator<Item = f64>| {
            let bounds = values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
                [low.min(value), high.max(value)]
            });
            match bounds[0] <= bounds[1] {
                true => bounds,
                false => [0.0, 1.0],
            }
        };
        let [left, right] = range(&mut points().map(|point| point.x.log10()));
        let [low, high] = range(&mut points().flat_map(|point| {
            let [low, high] = point.interval.unwrap_or([point.y; 2]);
            [low, high, point.y]
        }));
        Frame {
            x: [left - 0.08, right + 0.08],
            y: [
                (low * 10.0 - 0.2).floor() / 10.0,
                (high * 10.0 + 0.2).ceil() / 10.0,
            ],
        }
    }

    fn axes(&self, frame: &Frame, out: &mut String) {
        let [left, top, right, bottom] = MARGINS;
        let (right, bottom) = (SIZE[0] - right, SIZE[1] - bottom);
        let _ = writeln!(
            out,
            "<text x=\"{left}\" y=\"{}\" font-size=\"14\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n\
             <path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>",
            top - 16.0,
            escaped(&self.title),
            (left + right) / 2.0,
            bottom + 40.0,
            escaped(&self.x),
            (top + bottom) / 2.0,
            escaped(&self.y)
        );
        let [first, last] = frame.x.map(|exponent| 10_f64.powf(exponent));
        let decades = (frame.x[0].floor() as i32)..=(frame.x[1].ceil() as i32);
        let marks =
            decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade)));
        for mark in marks.filter(|mark| (first..=last).contains(mark)) {
            let x = frame.across(mark);
            let _ = writeln!(
                out,
                "<path d=\"M{x:.1} {bottom}v5\" stroke=\"black\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                // Without what rounding left of a product of powers.
                (mark * 1e6).round() / 1e6
            );
        }
        let tenths = ((frame.y[0] * 10.0).round() as i64)..=((frame.y[1] * 10.0).round() as i64);
        for tenth in tenths {
            let value = tenth as f64 / 10.0;
            let y = frame.up(value);
            let _ = writeln!(
                out,
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.1}</text>",
                left - 8.0,
                y + 4.0
            );
        }
    }
}

impl Series {
    fn draw(&self, frame: &Frame, index: usize, out: &mut String) {
        let colour = COLOURS[index % COLOURS.len()];
        let mut points = self.points.clone();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        let mut line = String::new();
        for (at, point) in points.iter().enumerate() {
            let (x, y) = (frame.across(point.x), frame.up(point.y));
            let _ = write!(line, "{}{x:.1} {y:.1}", if at == 0 { "M" } else { "L" });
            if let Some([low, high]) = point.interval {
                let _ = writeln!(
                    out,
                    "<path d=\"M{x:.1} {:.1}V{:.1}\" stroke=\"{colour}\" stroke-opacity=\"0.5\"/>",
                    frame.up(low),
                    frame.up(high)
                );
            }
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
            );
        }
        let (x, y) = (
            SIZE[0] - MARGINS[2] + 16.0,
            MARGINS[1] + 12.0 + 20.0 * index as f64,
        );
        let _ = writeln!(
            out,
            "<path d=\"{line}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
             <circle cx=\"{x}\" cy=\"{y}\" r=\"3.5\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            x + 10.0,
            y + 4.0,
            escaped(&self.name)
        );
    }
}

impl Frame {
    fn across(&self, value: f64) -> f64 {
        let share = (value.log10() - self.x[0]) / (self.x[1] - self.x[0]);
        MARGINS[0] + share * (SIZE[0] - MARGINS[0] - MARGINS[2])
    }

    fn up(&self, value: f64) -> f64 {
        let share = (value - self.y[0]) / (self.y[1] - self.y[0]);
        SIZE[1] - MARGINS[3] - share * (SIZE[1] - MARGINS[1] - MARGINS[3])
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lies_on_the_picture() {
        let point = |x, y, interval| Point { x, y, interval };
        let plot = Plot {
            title: "a < b & c".into(),
            x: "evaluations".into(),
            y: "score".into(),
            series: vec![
                Series {
                    name: "one".into(),
                    points: vec![point(100.0, 0.98, None), point(0.25, 0.2, Some([0.1, 0.3]))],
                },
                Series {
                    name: "two".into(),
                    points: vec![point(1.0, 0.5, Some([0.45, 1.0]))],
                },
            ],
        };
        let svg = plot.svg();
        assert!(
            svg.contains("a &lt; b &amp; c") && !svg.contains("NaN"),
            "{svg}"
        );
        // Three points and two marks of the legend.
        assert_eq!(svg.matches("<circle").count(), 5);
        let numbers = |attribute: &str| -> Vec<f64> {
            let parts = svg.split(attribute).skip(1);
            parts
                .map(|part| part.split('"').next().unwrap_or_default().parse().unwrap())
                .collect()
        };
        assert!(
            numbers(" cx=\"")
                .iter()
                .all(|x| (0.0..=SIZE[0]).contains(x))
        );
        assert!(
            numbers(" cy=\"")
                .iter()
                .all(|y| (0.0..=SIZE[1]).contains(y))
        );
        for mark in [">0.5<", ">1<", ">50<", ">0.1<"] {
            assert!(svg.contains(mark), "{mark}: {svg}");
        }
    }

    #[test]
    fn nothing_to_show_is_no_error() {
        let plot = Plot {
            title: String::new(),
            x: String::new(),
            y: String::new(),
            series: Vec::new(),
        };
        assert!(!plot.svg().contains("NaN"));
    }
}
