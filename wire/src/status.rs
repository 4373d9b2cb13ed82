//! Status: counters and state of a running node, sent a few times a second.

use serde::{Deserialize, Serialize};

use super::header::{Header, Kind, Stamp};
use super::{ContentError, Decode, DecodeError, Encode};

const FIXED_BYTES: usize = 80;

/// What a node did so far and how it fares. Counters run since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Sequence, times, stream.
    pub stamp: Stamp,
    /// Observations received.
    pub observations: u64,
    /// Plans computed.
    pub plans: u64,
    /// Actions published.
    pub actions: u64,
    /// Periods of the control loop that were missed.
    pub missed: u64,
    /// Payloads refused because they did not decode.
    pub malformed: u64,
    /// Median time from observation to plan in microseconds, if known.
    pub latency_p50_us: Option<f64>,
    /// 99th percentile of the same.
    pub latency_p99_us: Option<f64>,
    /// Best score of this stream so far, 0 to 1, if the task has one.
    pub score: Option<f64>,
    /// Coverage of the goal now, 0 to 1, if the task has one.
    pub coverage: Option<f64>,
    /// What the node is doing.
    pub state: RunState,
}

/// What a node is doing, by its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum RunState {
    /// Loading weights, warming up.
    #[default]
    Starting = 0,
    /// Ready; no observation yet.
    Waiting = 1,
    /// Computing plans.
    Running = 2,
    /// Paused on request.
    Paused = 3,
    /// No fresh plan or observation: holding the last command.
    Holding = 4,
    /// Brought to rest, on request or at the end.
    Stopped = 5,
    /// Given up after an error.
    Fault = 6,
}

impl RunState {
    const ALL: [Self; 7] = [
        Self::Starting,
        Self::Waiting,
        Self::Running,
        Self::Paused,
        Self::Holding,
        Self::Stopped,
        Self::Fault,
    ];
}

const FLOAT_FIELDS: [&str; 4] = ["latency_p50_us", "latency_p99_us", "score", "coverage"];

impl Encode for Status {
    const KIND: Kind = Kind::Status;

    fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), ContentError> {
        out.clear();
        let floats = [
            self.latency_p50_us,
            self.latency_p99_us,
            self.score,
            self.coverage,
        ];
        for (field, value) in FLOAT_FIELDS.into_iter().zip(floats) {
            if let Some(found) = value.filter(|value| !value.is_finite()) {
                return Err(ContentError::OutOfRange {
                    field,
                    expected: "a finite number or none",
                    found,
                });
            }
        }
        Header::start(out, <Self as Encode>::KIND, &self.stamp, FIXED_BYTES);
        for number in [
            self.observations,
            self.plans,
            self.actions,
            self.missed,
            self.malformed,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for value in floats {
            // NaN is the wire's "not known"; one fixed bit pattern keeps encodings comparable.
            out.extend_from_slice(
                &value
                    .unwrap_or(f64::from_bits(0x7ff8_0000_0000_0000))
                    .to_le_bytes(),
            );
        }
        out.extend_from_slice(&(self.state as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        Ok(())
    }
}

impl Decode for Status {
    const KIND: Kind = Kind::Status;
    type View<'a> = Self;

    fn view(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (stamp, mut reader) = Header::expect(bytes, <Self as Decode>::KIND)?;
        let (observations, plans, actions) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (missed, malformed) = (reader.u64()?, reader.u64()?);
        let mut floats = [None; 4];
        for (field, slot) in FLOAT_FIELDS.into_iter().zip(&mut floats) {
            let value = reader.f64()?;
            if value.is_infinite() {
                return Err(ContentError::OutOfRange {
                    field,
                    expected: "a finite number or NaN",
                    found: value,
                }
                .into());
            }
            *slot = Some(value).filter(|value| !value.is_nan());
        }
        let code = reader.u32()?;
        let state = RunState::ALL
            .into_iter()
            .find(|state| *state as u32 == code)
            .ok_or(DecodeError::UnknownCode {
                field: "state",
                found: code,
            })?;
        reader.take(4)?;
        reader.finish()?;
        let [latency_p50_us, latency_p99_us, score, coverage] = floats;
        Ok(Self {
            stamp,
            observations,
            plans,
            actions,
            missed,
            malformed,
            latency_p50_us,
            latency_p99_us,
            score,
            coverage,
            state,
        })
    }

    fn from_view(view: &Self) -> Self {
        *view
    }
}
