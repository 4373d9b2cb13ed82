//! The image observation: the table as the reference environment draws it.
//!
//! Drawn at 512 pixels a side, then scaled. Goal, T with its border, agent, walls, and a short
//! red stroke at each contact, in this order; the target is not drawn, as in the data set.

use super::physics::{ContactMark, Vector};
use super::raster::{Canvas, Color, Pixel};
use super::scene::{self, AGENT_RADIUS, Scene, TABLE_SIZE, WALL_RADIUS};

/// Side of the image observation, pixels.
pub const IMAGE_SIZE: usize = 96;

const BACKGROUND: Color = [255, 255, 255];
const GOAL: Color = [144, 238, 144];
const BLOCK: Color = [119, 136, 153];
const BLOCK_INSIDE: Color = [143, 163, 184];
const AGENT: Color = [65, 105, 225];
const AGENT_INSIDE: Color = [78, 126, 255];
const WALL: Color = [211, 211, 211];
const CONTACT: Color = [231, 76, 60];

/// Half the width of the T's border.
const BORDER_RADIUS: f64 = 2.0;
/// Width of the agent's border.
const AGENT_BORDER: f64 = 4.0;
/// Length of a contact's stroke on each side.
const CONTACT_REACH: f64 = 2.0;

/// Draws `scene` with `size` pixels a side: RGB, row by row.
pub(super) fn render(scene: &Scene, size: usize) -> Vec<u8> {
    let mut canvas = Canvas::new(TABLE_SIZE as usize, BACKGROUND);
    for corners in scene::goal_rectangles() {
        canvas.fill_polygon(&closed(corners), GOAL);
    }
    for corners in scene.block_rectangles() {
        canvas.fill_polygon(&closed(corners), BLOCK_INSIDE);
        for i in 0..corners.len() {
            let end = corners[(i + 1) % corners.len()];
            draw_segment(&mut canvas, corners[i], end, BORDER_RADIUS, BLOCK);
        }
    }
    let center = pixel(scene.agent().position());
    canvas.fill_circle(center, AGENT_RADIUS as i64, AGENT);
    canvas.fill_circle(center, (AGENT_RADIUS - AGENT_BORDER) as i64, AGENT_INSIDE);
    for [a, b] in scene::walls() {
        draw_segment(&mut canvas, a, b, WALL_RADIUS, WALL);
    }
    for ContactMark { a, b, normal } in scene.contacts() {
        let from = pixel(a + normal * -CONTACT_REACH);
        let to = pixel(b + normal * CONTACT_REACH);
        canvas.smooth_line(from, to, CONTACT);
    }
    canvas.resized(size)
}

/// Draws a segment with round ends: a thick line, a parallelogram and two discs. The
/// parallelogram's offset loses its sign in the reference, so that it is thin for lines that
/// fall from left to right; the thick line covers for it.
fn draw_segment(canvas: &mut Canvas, a: Vector, b: Vector, radius: f64, color: Color) {
    let (from, to) = (pixel(a), pixel(b));
    canvas.thick_line(from, to, (radius * 2.0).round_ties_even() as i64, color);
    let [x, y] = [
        (to[1] - from[1]).abs() as f64,
        (to[0] - from[0]).abs() as f64,
    ];
    if x == 0.0 && y == 0.0 {
        return;
    }
    let scale = radius / (x * x + y * y).sqrt();
    let [x, y] = [x, y].map(|part| (part * scale).round_ties_even() as i64);
    let corners = [
        [from[0] - x, from[1] - y],
        [from[0] + x, from[1] + y],
        [to[0] + x, to[1] + y],
        [to[0] - x, to[1] - y],
    ];
    canvas.fill_polygon(&corners, color);
    for center in [from, to] {
        canvas.fill_circle(center, radius.round_ties_even() as i64, color);
    }
}

/// A rectangle's corners with the first one repeated, as the reference passes them: the repeated
/// corner is drawn for itself.
fn closed(corners: [Vector; 4]) -> [Pixel; 5] {
    std::array::from_fn(|i| pixel(corners[i % 4]))
}

/// The nearest pixel, limited to where the drawing's whole numbers cannot overflow.
fn pixel(point: Vector) -> Pixel {
    const FAR: f64 = 1e6;
    [point.x, point.y].map(|value| value.round_ties_even().clamp(-FAR, FAR) as i64)
}

#[cfg(test)]
mod tests {
    use super::super::PushT;
    use super::*;

    /// FNV-1a hash of 64 bits.
    fn hash(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// Hashes of the reference environment's images (pygame 2.1.3): after the reset, and after
    /// twenty control steps towards where the T's origin then was, which ends in contact.
    #[test]
    fn images_equal_the_reference() {
        let cases: [(u32, u64, u64); 4] = [
            (0, 0x2509_17b1_ea65_a14a, 0xf162_c973_a423_e02f),
            (1, 0x256e_2f69_175f_efc6, 0x0743_bf6f_5d98_97ad),
            (2, 0x43cc_a51e_19a2_0fbc, 0x99ff_5f23_4b43_2bb0),
            (100_000, 0x8544_2300_5ccd_d119, 0x4b8c_d797_e721_c967),
        ];
        for (seed, after_reset, after_steps) in cases {
            let mut environment = PushT::new();
            let target = environment.reset(seed).block_position;
            let target = target.map(|value| value.clamp(0.0, TABLE_SIZE));
            assert_eq!(hash(&environment.render(IMAGE_SIZE)), after_reset, "{seed}");
            for _ in 0..20 {
                environment.step(target).unwrap();
            }
            assert_eq!(hash(&environment.render(IMAGE_SIZE)), after_steps, "{seed}");
        }
    }

    #[test]
    fn any_size_and_any_placement_can_be_drawn() {
        let mut environment = PushT::new();
        for size in [0, 1, 7, 96, 512, 700] {
            assert_eq!(environment.render(size).len(), size * size * 3);
        }
        for state in [
            [-1e6, 1e6, 1e6, -1e6, 1.0],
            [0.0, 0.0, -30.0, 250.0, 0.3],
            [512.0, 512.0, 540.0, 510.0, -2.0],
        ] {
            environment.reset_to_state(state).unwrap();
            assert_eq!(environment.render(IMAGE_SIZE).len(), 96 * 96 * 3);
        }
    }
}
