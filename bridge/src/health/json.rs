//! [`Health`] to JSON and back, with the bounds that either side keeps.

use super::Health;

/// Longest payload that is read or sent, in bytes.
pub const MAX_HEALTH_BYTES: usize = 64 * 1024;
/// Longest text in a field, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024;
/// Most entries of `lateness_buckets`.
pub const MAX_BUCKETS: usize = 64;
/// Most entries of `cpus`.
pub const MAX_CPUS: usize = 4096;

/// A text as [`Health`] may carry it: at most [`MAX_TEXT_BYTES`], cut between characters.
#[must_use]
pub fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}

impl Health {
    /// As JSON.
    ///
    /// # Errors
    /// [`HealthError`] for what a reader would refuse.
    pub fn to_json(&self) -> Result<String, HealthError> {
        self.check()?;
        let text = serde_json::to_string(self).map_err(|error| HealthError::Json {
            reason: error.to_string(),
        })?;
        check_length(text.len())?;
        Ok(text)
    }

    /// From JSON that anybody may have sent.
    ///
    /// # Errors
    /// [`HealthError`] says which field was expected to be what.
    pub fn from_json(bytes: &[u8]) -> Result<Self, HealthError> {
        check_length(bytes.len())?;
        let health: Self = serde_json::from_slice(bytes).map_err(|error| HealthError::Json {
            reason: error.to_string(),
        })?;
        health.check()?;
        Ok(health)
    }

    /// Checks the bounds of texts, lists and numbers.
    ///
    /// # Errors
    /// [`HealthError`] names the field.
    pub fn check(&self) -> Result<(), HealthError> {
        let none = String::new();
        let (control, policy) = (&self.control, &self.policy);
        let recorder = self.recorder.as_ref();
        for (field, text) in [
            ("robot", &self.robot),
            ("node", &self.node),
            ("version", &self.version),
            ("reason", self.reason.as_ref().unwrap_or(&none)),
            ("stopped_by", self.stopped_by.as_ref().unwrap_or(&none)),
            ("control.scheduling.policy", &control.scheduling.policy),
            ("policy.fault", policy.fault.as_ref().unwrap_or(&none)),
            ("recorder.file", recorder.map_or(&none, |it| &it.file)),
            (
                "recorder.fault",
                recorder.and_then(|it| it.fault.as_ref()).unwrap_or(&none),
            ),
        ] {
            check_size(field, text.len(), MAX_TEXT_BYTES)?;
        }
        check_size(
            "control.scheduling.cpus",
            control.scheduling.cpus.len(),
            MAX_CPUS,
        )?;
        check_size(
            "control.lateness_buckets",
            control.lateness_buckets.len(),
            MAX_BUCKETS,
        )?;
        let (lateness, execution, latency) =
            (control.lateness_us, control.execution_us, policy.latency_ms);
        for (field, found) in [
            ("uptime_s", self.uptime_s),
            ("rung_since_s", self.rung_since_s),
            (
                "longest_without_command_ms",
                self.longest_without_command_ms,
            ),
            ("control.rate_hz", control.rate_hz),
            ("control.measured_hz", control.measured_hz),
            ("control.lateness_us.p50", lateness.p50),
            ("control.lateness_us.p99", lateness.p99),
            ("control.lateness_us.p999", lateness.p999),
            ("control.lateness_us.max", lateness.max),
            (
                "control.lateness_sum_us",
                control.lateness_sum_us.unwrap_or(0.0),
            ),
            ("control.execution_us.p50", execution.p50),
            ("control.execution_us.p99", execution.p99),
            ("control.execution_us.p999", execution.p999),
            ("control.execution_us.max", execution.max),
            (
                "policy.observations_per_second",
                policy.observations_per_second,
            ),
            ("policy.plans_per_second", policy.plans_per_second),
            ("policy.latency_ms.p50", latency.p50),
            ("policy.latency_ms.p99", latency.p99),
            ("policy.latency_ms.p999", latency.p999),
            ("policy.latency_ms.max", latency.max),
            ("policy.latency_ms.last", latency.last),
            ("limits.largest_deviation", self.limits.largest_deviation),
        ] {
            check_number(field, found)?;
        }
        let mut last = 0.0;
        for &[bound, count] in &control.lateness_buckets {
            check_number("control.lateness_buckets", bound)?;
            check_number("control.lateness_buckets", count)?;
            if bound <= last {
                return Err(HealthError::Order { bound, last });
            }
            last = bound;
        }
        Ok(())
    }
}

/// Why a [`Health`] was not sent, or not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HealthError {
    /// Not JSON, or a field of another type.
    #[error("health: not the JSON that was expected: {reason}")]
    Json {
        /// What the JSON reader said, with line and column.
        reason: String,
    },
    /// A text, a list or the whole is too long.
    #[error("health: {field} has {found} {unit}, expected at most {limit}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Bytes or entries.
        unit: &'static str,
        /// How many are allowed.
        limit: usize,
        /// How many there were.
        found: usize,
    },
    /// A number that is not finite, or negative.
    #[error("health: {field} is {found}, expected a finite number, not negative")]
    Number {
        /// The field.
        field: &'static str,
        /// The number.
        found: f64,
    },
    /// Upper bounds of the histogram that do not rise.
    #[error(
        "health: control.lateness_buckets: {bound} follows {last}, expected bounds above 0 that rise"
    )]
    Order {
        /// The bound in the wrong place.
        bound: f64,
        /// The one before, or 0.
        last: f64,
    },
}

fn check_length(found: usize) -> Result<(), HealthError> {
    if found > MAX_HEALTH_BYTES {
        return Err(HealthError::TooLong {
            field: "the message",
            unit: "bytes",
            limit: MAX_HEALTH_BYTES,
            found,
        });
    }
    Ok(())
}

fn check_size(field: &'static str, found: usize, limit: usize) -> Result<(), HealthError> {
    if found > limit {
        let unit = if limit == MAX_TEXT_BYTES {
            "bytes"
        } else {
            "entries"
        };
        return Err(HealthError::TooLong {
            field,
            unit,
            limit,
            found,
        });
    }
    Ok(())
}

fn check_number(field: &'static str, found: f64) -> Result<(), HealthError> {
    if !found.is_finite() || found < 0.0 {
        return Err(HealthError::Number { field, found });
    }
    Ok(())
}
