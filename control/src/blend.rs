//! The way from the last command onto the path of a new plan, so that no replacement makes a jump.

use crate::curve::{Curve, Interpolation, Motion, segment};
use crate::interpolation::Interpolations;
use crate::orientation::{OrientationCurve, Orientations};
use crate::quaternion::{Quaternion, Turn, length};
use crate::timeline::{Plan, PlanHeader};

/// How far, in parts of the numbers involved, rounding may take a command off a path. Plans that agree hold the same
/// numbers, so the rounding is that of f64.
const ROUNDING: f64 = 1e-12;

/// Under way from where the last command was to where the new path is met.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blend {
    from_ns: u64,
    until_ns: u64,
    target: Target,
}

/// Where a path is met: at rest before its first position, or at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Before,
    Position(usize),
}

impl Blend {
    /// The way that begins at `from` `[Da]`, `gap_ns` before `now_ns`. None where there is nothing to bridge: holding
    /// commands step, and a straight line may lead onto the new path by itself.
    pub(crate) fn begin(
        plan: &Plan,
        interpolations: &Interpolations,
        orientations: &Orientations,
        from: &[Motion],
        now_ns: u64,
        gap_ns: u64,
    ) -> Option<Self> {
        let gap_s = gap_ns as f64 * 1e-9;
        let direct = interpolations.iter().all(|it| it != Interpolation::Cubic)
            && leads_onto(plan, interpolations, orientations, from, now_ns, gap_s)
            && turns_onto(plan, interpolations, orientations, from, now_ns, gap_s);
        let (until_ns, target) = meeting(plan, now_ns);
        let blend = Self {
            from_ns: now_ns.saturating_sub(gap_ns),
            until_ns,
            target,
        };
        (!direct).then_some(blend)
    }

    /// Whether the path has been met.
    pub(crate) fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.until_ns
    }

    /// Motion at `now_ns`, before the end, of the number that `curve` is about and that began at `from`. What holds steps
    /// at once.
    pub(crate) fn at(&self, curve: Curve<'_>, from: Motion, now_ns: u64) -> Motion {
        if curve.interpolation() == Interpolation::Hold {
            return curve.at(now_ns);
        }
        let to = match self.target {
            Target::Before => Motion::at_rest(curve.knot(0).value),
            Target::Position(position) => curve.knot(position),
        };
        let seconds = self.seconds();
        segment(
            curve.interpolation(),
            from,
            to,
            seconds,
            self.fraction(now_ns),
        )
    }

    /// Turn at `now_ns`, before the end, of the orientation that `curve` is about and that began at `from`; none where the
    /// plan says no orientation.
    pub(crate) fn turn_at(
        &self,
        curve: OrientationCurve<'_>,
        from: Quaternion,
        now_ns: u64,
    ) -> Option<Turn> {
        let to = curve.knot(match self.target {
            Target::Before => 0,
            Target::Position(position) => position,
        })?;
        if curve.interpolation() == Interpolation::Hold {
            return curve.at(now_ns);
        }
        let turn = from.slerp(to, self.fraction(now_ns));
        Some(turn.times(1.0 / self.seconds()))
    }

    fn seconds(&self) -> f64 {
        self.until_ns.saturating_sub(self.from_ns) as f64 * 1e-9
    }

    fn fraction(&self, now_ns: u64) -> f64 {
        let duration_ns = self.until_ns.saturating_sub(self.from_ns) as f64;
        now_ns.saturating_sub(self.from_ns) as f64 / duration_ns
    }
}

/// Whether straight motion leads onto the plan's path by itself: the step to it is one that the velocities before and after
/// it cover in this time, with at most one bend between, up to the rounding of commands.
fn leads_onto(
    plan: &Plan,
    interpolations: &Interpolations,
    orientations: &Orientations,
    from: &[Motion],
    now_ns: u64,
    gap_s: f64,
) -> bool {
    let numbers = from.iter().enumerate();
    let mut numbers = numbers.filter(|&(index, _)| {
        !orientations.contains(index) && interpolations.of(index) != Interpolation::Hold
    });
    numbers.all(|(index, from)| {
        let path = Curve::new(plan, index, Interpolation::Linear).at(now_ns);
        let (before, after) = (from.velocity * gap_s, path.velocity * gap_s);
        let rounding = ROUNDING * from.value.abs().max(path.value.abs());
        let covered = before.min(after) - rounding..=before.max(after) + rounding;
        covered.contains(&(path.value - from.value))
    })
}

/// The same for orientations: the step is a rotation that the faster of both angular velocities covers.
fn turns_onto(
    plan: &Plan,
    interpolations: &Interpolations,
    orientations: &Orientations,
    from: &[Motion],
    now_ns: u64,
    gap_s: f64,
) -> bool {
    orientations.groups().iter().all(|&group| {
        if interpolations.of(group.columns()[0]) == Interpolation::Hold {
            return true;
        }
        let path = OrientationCurve::new(plan, group, Interpolation::Linear).at(now_ns);
        let last = group.read(|column| from[column].value);
        let (Some(path), Some(last)) = (path, last) else {
            return true;
        };
        let before = group.angular_velocity(|column| from[column]);
        let covered = before.max(2.0 * length(path.rate)) * gap_s;
        last.angle_to(path.at) <= covered + ROUNDING
    })
}

/// The first due time that is at least a quarter of a period away, and what is due then. The grid of due times is thought
/// to go on before the plan's start and after its end.
fn meeting(plan: &Plan, now_ns: u64) -> (u64, Target) {
    let PlanHeader {
        start_ns,
        period_ns,
        ..
    } = *plan.header();
    let earliest_ns = now_ns.saturating_add((period_ns / 4).max(1));
    match start_ns.checked_sub(earliest_ns) {
        Some(ahead_ns) if ahead_ns >= period_ns => {
            (earliest_ns + ahead_ns % period_ns, Target::Before)
        }
        Some(_) => (start_ns, Target::Position(0)),
        None => {
            let periods = (earliest_ns - start_ns).div_ceil(period_ns);
            let position = usize::try_from(periods).unwrap_or(usize::MAX);
            (plan.due_ns(position), Target::Position(position))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_met_at_a_due_time_a_quarter_to_five_quarters_ahead() {
        let header = PlanHeader {
            stream: 0,
            chunk: 0,
            observation_sequence: 0,
            start_ns: 1000,
            period_ns: 100,
            action_size: 1,
            committed: 1,
        };
        let plan = Plan::new(header, vec![0.0]).unwrap();
        let found = [0, 875, 876, 975, 976, 1075, 1076].map(|now| meeting(&plan, now));
        let expected = [
            (100, Target::Before),
            (900, Target::Before),
            (1000, Target::Position(0)),
            (1000, Target::Position(0)),
            (1100, Target::Position(1)),
            (1100, Target::Position(1)),
            (1200, Target::Position(2)),
        ];
        assert_eq!(found, expected);
        assert_eq!(meeting(&plan, u64::MAX).0, u64::MAX);
    }
}
