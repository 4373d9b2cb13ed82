//! Drawing of filled shapes and lines on an RGB canvas, as pygame 2.1.3 draws them.
//!
//! The data set's images were made with that version, and its rounding shows in single pixels;
//! other versions draw polygons and discs differently. All coordinates are whole pixels.

/// Red, green, blue.
pub(super) type Color = [u8; 3];
/// x to the right, y down.
pub(super) type Pixel = [i64; 2];

/// A square RGB image.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    side: usize,
    /// Row by row, three bytes a pixel.
    bytes: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(side: usize, background: Color) -> Self {
        Self {
            side,
            bytes: background.repeat(side * side),
        }
    }

    /// Fills a polygon, its border included, by scan lines.
    pub(super) fn fill_polygon(&mut self, corners: &[Pixel], color: Color) {
        let rows = corners.iter().map(|corner| corner[1]);
        let (Some(first), Some(last)) = (rows.clone().min(), rows.max()) else {
            return;
        };
        if first == last {
            let columns = corners.iter().map(|corner| corner[0]);
            if let (Some(left), Some(right)) = (columns.clone().min(), columns.max()) {
                self.fill_row(first, left, right, color);
            }
            return;
        }
        let edges = || {
            let previous = corners.iter().cycle().skip(corners.len() - 1);
            previous.copied().zip(corners.iter().copied())
        };
        let mut crossings = Vec::with_capacity(corners.len());
        for y in first..=last {
            crossings.clear();
            for (a, b) in edges() {
                let ([x1, y1], [x2, y2]) = if a[1] < b[1] { (a, b) } else { (b, a) };
                // An edge's lower end counts on the polygon's last row only.
                if y1 != y2 && ((y1 <= y && y < y2) || (y == last && y2 == last)) {
                    crossings.push((y - y1) * (x2 - x1) / (y2 - y1) + x1);
                }
            }
            crossings.sort_unstable();
            for pair in crossings.chunks_exact(2) {
                self.fill_row(y, pair[0], pair[1], color);
            }
        }
        // A horizontal edge that ends an inner part has no crossing on its own row.
        for (a, b) in edges() {
            if a[1] == b[1] && first < b[1] && b[1] < last {
                self.fill_row(b[1], a[0], b[0], color);
            }
        }
    }

    /// Fills a disc by the midpoint circle algorithm. The disc is two radii wide: its centre
    /// lies on the corner of a pixel.
    pub(super) fn fill_circle(&mut self, [x0, y0]: Pixel, radius: i64, color: Color) {
        let mut decision = 1 - radius;
        let (mut x, mut y) = (0, radius);
        while x < y {
            if decision >= 0 {
                y -= 1;
                decision -= 2 * y;
            }
            x += 1;
            decision += 2 * x + 1;
            if decision >= 0 {
                self.fill_row(y0 + y - 1, x0 - x, x0 + x - 1, color);
                self.fill_row(y0 - y, x0 - x, x0 + x - 1, color);
            }
            self.fill_row(y0 + x - 1, x0 - y, x0 + y - 1, color);
            self.fill_row(y0 - x, x0 - y, x0 + y - 1, color);
        }
    }

    /// Draws a line `width` pixels thick, measured along the axis that it is steeper to, by
    /// Bresenham's algorithm.
    pub(super) fn thick_line(&mut self, from: Pixel, to: Pixel, width: i64, color: Color) {
        let steep = (from[0] - to[0]).abs() <= (from[1] - to[1]).abs();
        let [dx, dy] = [(to[0] - from[0]).abs(), (to[1] - from[1]).abs()];
        let step = |a: i64, b: i64| if a < b { 1 } else { -1 };
        let [step_x, step_y] = [step(from[0], to[0]), step(from[1], to[1])];
        let mut error = (if dx > dy { dx } else { -dy }) / 2;
        let Some(([mut x, mut y], clipped_end)) = self.clip_line(from, to) else {
            return;
        };
        // The part inside first; then on towards the true end while the thickness still reaches
        // inside.
        let passed = |x: i64, y: i64| {
            let past = |distance: i64, step: i64| distance == 0 || distance.signum() == step;
            past(x - clipped_end[0], step_x) && past(y - clipped_end[1], step_y)
        };
        let mut inside = true;
        loop {
            let low = if steep { x } else { y } - (width - 1) / 2;
            let high = if steep { x } else { y } + width / 2;
            let finished = if steep { y == to[1] } else { x == to[0] };
            inside = inside && !passed(x, y);
            if !inside {
                let visible = |across: i64| {
                    if steep {
                        self.contains(across, y)
                    } else {
                        self.contains(x, across)
                    }
                };
                let last = finished || !(visible(low) || visible(high));
                if last {
                    self.cross_section(steep, [x, y], low, high, color);
                    return;
                }
            }
            self.cross_section(steep, [x, y], low, high, color);
            let previous = error;
            if previous > -dx {
                error -= dy;
                x += step_x;
            }
            if previous < dy {
                error += dx;
                y += step_y;
            }
        }
    }

    /// Draws a thin line with smoothed steps (X. Wu's algorithm), blended with what is there.
    /// Where it crosses the canvas's border, colors may differ from pygame's by one unit: there
    /// the line is cut first, which rounds differently.
    pub(super) fn smooth_line(&mut self, from: Pixel, to: Pixel, color: Color) {
        let (mut from, mut to) = (from, to);
        self.set(from[0], from[1], color);
        self.set(to[0], to[1], color);
        let steep = (to[0] - from[0]).abs() < (to[1] - from[1]).abs();
        if steep {
            from.reverse();
            to.reverse();
        }
        if to[0] < from[0] {
            std::mem::swap(&mut from, &mut to);
        }
        if from == to {
            return;
        }
        let gradient = (to[1] - from[1]) as f32 / (to[0] - from[0]) as f32;
        let mut crossing = from[1] as f32 + 1.0 + gradient;
        for along in from[0] + 1..to[0] {
            let across = crossing as i64;
            let share = 1.0 - crossing + across as f32;
            let mut blend = |across: i64, share: f32| {
                let [x, y] = if steep {
                    [across, along]
                } else {
                    [along, across]
                };
                self.blend(x, y, color, share);
            };
            blend(across - 1, share);
            if (across as f32) < crossing {
                blend(across, 1.0 - share);
            }
            crossing += gradient;
        }
    }

    /// The image scaled to `size` pixels a side by bilinear interpolation without smoothing, in
    /// OpenCV's fixed-point arithmetic.
    pub(super) fn resized(&self, size: usize) -> Vec<u8> {
        let taps = Tap::all(self.side, size);
        let mut result = Vec::with_capacity(size * size * 3);
        for row in &taps {
            for column in &taps {
                for channel in 0..3 {
                    let horizontal = |y: usize| {
                        let at =
                            |x: usize| i32::from(self.bytes[(y * self.side + x) * 3 + channel]);
                        at(column.first) * column.weights[0] + at(column.second) * column.weights[1]
                    };
                    let part = |y: usize, weight: i32| (weight * (horizontal(y) >> 4)) >> 16;
                    let sum = part(row.first, row.weights[0]) + part(row.second, row.weights[1]);
                    result.push(((sum + 2) >> 2).clamp(0, 255) as u8);
                }
            }
        }
        result
    }

    fn contains(&self, x: i64, y: i64) -> bool {
        let range = 0..self.side as i64;
        range.contains(&x) && range.contains(&y)
    }

    fn at(&mut self, x: i64, y: i64) -> Option<&mut [u8]> {
        if !self.contains(x, y) {
            return None;
        }
        let start = (y as usize * self.side + x as usize) * 3;
        self.bytes.get_mut(start..start + 3)
    }

    fn set(&mut self, x: i64, y: i64, color: Color) {
        if let Some(pixel) = self.at(x, y) {
            pixel.copy_from_slice(&color);
        }
    }

    fn blend(&mut self, x: i64, y: i64, color: Color, share: f32) {
        if let Some(pixel) = self.at(x, y) {
            for (value, part) in pixel.iter_mut().zip(color) {
                *value = (share * f32::from(part) + (1.0 - share) * f32::from(*value)) as u8;
            }
        }
    }

    /// Fills the pixels from `a` to `b`, both included, of row `y`.
    fn fill_row(&mut self, y: i64, a: i64, b: i64, color: Color) {
        let side = self.side as i64;
        let (left, right) = (a.min(b).max(0), a.max(b).min(side - 1));
        if !(0..side).contains(&y) || left > right {
            return;
        }
        let start = (y as usize * self.side + left as usize) * 3;
        let end = (y as usize * self.side + right as usize + 1) * 3;
        for pixel in self.bytes[start..end].chunks_exact_mut(3) {
            pixel.copy_from_slice(&color);
        }
    }

    fn cross_section(&mut self, steep: bool, [x, y]: Pixel, low: i64, high: i64, color: Color) {
        if steep {
            self.fill_row(y, low, high, color);
        } else {
            for across in low..=high {
                self.set(x, across, color);
            }
        }
    }

    /// The part of a line on the canvas, or `None` (Liang and Barsky, 1984).
    fn clip_line(&self, from: Pixel, to: Pixel) -> Option<(Pixel, Pixel)> {
        let side = self.side as i64;
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        for axis in 0..2 {
            let delta = to[axis] - from[axis];
            let (before, after) = (from[axis], side - from[axis]);
            if delta == 0 {
                if before < 0 || after < 0 {
                    return None;
                }
                continue;
            }
            let low = before as f64 / -delta as f64;
            let high = after as f64 / delta as f64;
            let (near, far) = if delta > 0 { (low, high) } else { (high, low) };
            enter = enter.max(near);
            leave = leave.min(far);
        }
        if enter > leave {
            return None;
        }
        let point = |share: f64| {
            [0, 1].map(|axis| {
                // Rounds halves away from zero.
                from[axis] + ((to[axis] - from[axis]) as f64 * share).round() as i64
            })
        };
        Some((point(enter), point(leave)))
    }
}

/// Where one pixel of a scaled image takes its value from, along one axis.
struct Tap {
    first: usize,
    second: usize,
    /// In units of 1/2048.
    weights: [i32; 2],
}

impl Tap {
    fn all(from: usize, to: usize) -> Vec<Self> {
        let scale = from as f64 / to as f64;
        (0..to)
            .map(|index| {
                let position = ((index as f64 + 0.5) * scale - 0.5) as f32;
                let floor = position.floor();
                let (first, fraction) = if floor < 0.0 {
                    (0, 0.0)
                } else if floor as usize + 1 >= from {
                    (from - 1, 0.0)
                } else {
                    (floor as usize, position - floor)
                };
                let weight = |share: f32| (share * 2048.0).round_ties_even() as i32;
                Self {
                    first,
                    second: (first + 1).min(from - 1),
                    weights: [weight(1.0 - fraction), weight(fraction)],
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Color = [255; 3];
    const BLACK: Color = [0; 3];

    /// The canvas as text, `#` where it is black.
    fn picture(canvas: &Canvas) -> Vec<String> {
        let row = |row: &[u8]| {
            let black = |pixel: &[u8]| if pixel == BLACK { '#' } else { '.' };
            row.chunks_exact(3).map(black).collect()
        };
        canvas
            .bytes
            .chunks_exact(canvas.side * 3)
            .map(row)
            .collect()
    }

    #[test]
    fn discs_and_rectangles_have_their_sizes() {
        let mut canvas = Canvas::new(6, WHITE);
        canvas.fill_circle([2, 2], 2, BLACK);
        let expected = [".##...", "####..", "####..", ".##...", "......", "......"];
        assert_eq!(picture(&canvas), expected);
        let mut canvas = Canvas::new(4, WHITE);
        canvas.fill_polygon(&[[1, 1], [2, 1], [2, 2], [1, 2]], BLACK);
        assert_eq!(picture(&canvas), ["....", ".##.", ".##.", "...."]);
    }

    #[test]
    fn lines_are_as_thick_as_asked_and_cut_at_the_border() {
        let mut canvas = Canvas::new(5, WHITE);
        canvas.thick_line([2, -9], [2, 99], 3, BLACK);
        assert_eq!(picture(&canvas), [".###."; 5]);
        let mut canvas = Canvas::new(3, WHITE);
        canvas.thick_line([10, 10], [20, 20], 4, BLACK);
        canvas.smooth_line([-5, 1], [9, 1], BLACK);
        assert_eq!(picture(&canvas), ["...", "###", "..."]);
    }

    #[test]
    fn scaling_to_the_same_size_changes_nothing() {
        let mut canvas = Canvas::new(9, [10, 200, 30]);
        canvas.smooth_line([0, 0], [8, 3], BLACK);
        assert_eq!(canvas.resized(9), canvas.bytes);
    }
}
