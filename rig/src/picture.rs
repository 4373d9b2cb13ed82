//! Pictures of motion as SVG: strips of poses, and a trajectory beside the path asked for.

use std::fmt::Write;

use nalgebra::{Vector2, Vector3};

use crate::skeleton::GlobalPose;
use crate::trajectory::Root;
use crate::{Pose, Skeleton};

/// Pixels of a metre in a strip.
const SCALE: f64 = 130.0;
/// Pixels from one pose of a strip to the next.
const SPACING: f64 = 92.0;

/// Every `stride`-th of some poses side by side, each seen from its own left and a little from the
/// front; left limbs are warm, right ones cold.
pub fn strip(skeleton: &Skeleton, poses: &[Pose], roots: &[Root], stride: usize) -> String {
    let chosen: Vec<usize> = (0..poses.len()).step_by(stride.max(1)).collect();
    let (width, height) = (SPACING * (chosen.len() as f64 + 0.4), 2.05 * SCALE);
    let mut svg = open(width, height);
    let floor = height - 0.12 * SCALE;
    let _ = writeln!(
        svg,
        r##"<line x1="0" y1="{floor:.1}" x2="{width:.1}" y2="{floor:.1}" stroke="#9aa4ad" stroke-width="1"/>"##
    );
    let mut global = GlobalPose::default();
    for (place, frame) in chosen.iter().enumerate() {
        skeleton.forward_into(&poses[*frame], &mut global);
        let root = &roots[*frame];
        let centre = SPACING * (place as f64 + 0.7);
        let seen = |point: &Vector3<f64>| {
            let local = root.localise(point);
            // A quarter turn, less 25 degrees.
            let (sine, cosine) = 65_f64.to_radians().sin_cos();
            let across = sine * local.z - cosine * local.x;
            (centre + SCALE * across, floor - SCALE * local.y)
        };
        for (index, joint) in skeleton.joints().iter().enumerate() {
            let Some(parent) = joint.parent else { continue };
            bone(
                &mut svg,
                &joint.name,
                seen(&global.positions[parent]),
                seen(&global.positions[index]),
            );
        }
        for (joint, offset) in skeleton.ends() {
            let tip = global.positions[*joint] + global.rotations[*joint] * offset;
            let name = &skeleton.joints()[*joint].name;
            bone(&mut svg, name, seen(&global.positions[*joint]), seen(&tip));
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn bone(svg: &mut String, name: &str, from: (f64, f64), to: (f64, f64)) {
    let colour = if name.starts_with("Left") {
        "#d1603d"
    } else if name.starts_with("Right") {
        "#2f6f9f"
    } else {
        "#39424a"
    };
    let _ = writeln!(
        svg,
        r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="4" stroke-linecap="round"/>"#,
        from.0, from.1, to.0, to.1
    );
}

/// Where a root went (solid) and where it should have gone (dashed), from above, with a grid of
/// metres; ticks show the facing once a second at 30 frames per second.
pub fn trajectory(asked: &[Root], taken: &[Root]) -> String {
    let all = || asked.iter().chain(taken).map(|root| root.position);
    let lowest = all().fold(Vector2::repeat(f64::INFINITY), |low, at| low.inf(&at));
    let highest = all().fold(Vector2::repeat(f64::NEG_INFINITY), |high, at| high.sup(&at));
    if !lowest
        .iter()
        .chain(highest.iter())
        .all(|value| value.is_finite())
    {
        return open(10.0, 10.0) + "</svg>\n";
    }
    let (lowest, highest) = (lowest.add_scalar(-1.0), highest.add_scalar(1.0));
    let size = highest - lowest;
    let scale = 760.0 / size.max();
    let mut svg = open(size.y * scale, size.x * scale);
    // Ahead (+Z) is to the right, left (+X) is up.
    let seen = |at: Vector2<f64>| ((at.y - lowest.y) * scale, (highest.x - at.x) * scale);
    for metre in lowest.y.ceil() as i64..=highest.y.floor() as i64 {
        let (x, _) = seen(Vector2::new(0.0, metre as f64));
        let bottom = size.x * scale;
        let _ = writeln!(
            svg,
            r##"<line x1="{x:.1}" y1="0" x2="{x:.1}" y2="{bottom:.1}" stroke="#e3e7ea"/>"##
        );
    }
    for metre in lowest.x.ceil() as i64..=highest.x.floor() as i64 {
        let (_, y) = seen(Vector2::new(metre as f64, 0.0));
        let right = size.y * scale;
        let _ = writeln!(
            svg,
            r##"<line x1="0" y1="{y:.1}" x2="{right:.1}" y2="{y:.1}" stroke="#e3e7ea"/>"##
        );
    }
    for (roots, style) in [
        (taken, r##"stroke="#d1603d" stroke-width="2.5""##),
        (
            asked,
            r##"stroke="#39424a" stroke-width="1.5" stroke-dasharray="6 5""##,
        ),
    ] {
        let points: Vec<String> = roots
            .iter()
            .map(|root| {
                let (x, y) = seen(root.position);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ = writeln!(
            svg,
            r#"<polyline points="{}" fill="none" {style}/>"#,
            points.join(" ")
        );
    }
    for root in taken.iter().step_by(30) {
        let ahead = root.position + root.outwards(Vector2::new(0.0, 0.35));
        let ((x1, y1), (x2, y2)) = (seen(root.position), seen(ahead));
        let _ = writeln!(
            svg,
            r##"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="#d1603d"/>"##
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn open(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    )
}
