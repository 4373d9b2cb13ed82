//! Random messages survive the wire, random changes to them never panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::{encoded, golden};
use super::*;

fn stamps() -> impl Strategy<Value = Stamp> {
    (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
        |(sequence, monotonic_ns, wall_ns, stream)| Stamp {
            sequence,
            monotonic_ns,
            wall_ns,
            stream,
        },
    )
}

fn finite() -> impl Strategy<Value = f32> {
    any::<f32>().prop_filter("finite", |value| value.is_finite())
}

fn maybe() -> impl Strategy<Value = Option<f64>> {
    any::<Option<f64>>().prop_map(|value| value.filter(|value| value.is_finite()))
}

fn observations() -> impl Strategy<Value = Message> {
    let values = prop_oneof![
        vec(any::<f32>(), 1..40).prop_map(Values::F32),
        vec(any::<f64>(), 1..40).prop_map(Values::F64)
    ];
    (stamps(), "[a-z_äß0-9]{1,16}", values).prop_map(|(stamp, name, values)| {
        Message::Observation(Observation {
            stamp,
            name: Name::new(&name).unwrap(),
            values,
        })
    })
}

fn actions() -> impl Strategy<Value = Message> {
    (
        stamps(),
        any::<u64>(),
        -1e9..1e9_f64,
        0.0..=1.0_f32,
        any::<u32>(),
        vec(finite(), 1..40),
    )
        .prop_map(|(stamp, chunk, position, noise, flags, values)| {
            Message::Action(Action {
                stamp,
                chunk,
                position,
                noise,
                flags: ActionFlags(flags),
                values,
            })
        })
}

fn plans() -> impl Strategy<Value = Message> {
    (1..20_usize, 1..8_u32, 1..200_u32).prop_flat_map(|(horizon, dims, levels)| {
        let arrays = (
            vec(0.0..=1.0_f32, horizon),
            vec(0..=levels, horizon),
            vec(finite(), horizon * dims as usize),
        );
        (
            stamps(),
            any::<[u64; 3]>(),
            1..u64::MAX,
            0..=horizon as u32,
            arrays,
        )
            .prop_map(
                move |(
                    stamp,
                    [chunk, observation_sequence, first_action_ns],
                    period_ns,
                    committed,
                    (noise, level, actions),
                )| {
                    Message::Plan(Plan {
                        stamp,
                        chunk,
                        observation_sequence,
                        first_action_ns,
                        period_ns,
                        dims,
                        committed,
                        levels,
                        noise,
                        level,
                        actions,
                    })
                },
            )
    })
}

fn statuses() -> impl Strategy<Value = Message> {
    let state = prop_oneof![
        Just(RunState::Starting),
        Just(RunState::Holding),
        Just(RunState::Fault)
    ];
    (
        stamps(),
        any::<[u64; 5]>(),
        [maybe(), maybe(), maybe(), maybe()],
        state,
    )
        .prop_map(
            |(stamp, [observations, plans, actions, missed, malformed], floats, state)| {
                let [latency_p50_us, latency_p99_us, score, coverage] = floats;
                Message::Status(Status {
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
            },
        )
}

fn commands() -> impl Strategy<Value = Message> {
    let place = -1e6..1e6_f64;
    let request = prop_oneof![
        any::<u64>().prop_map(|seed| Request::Reset { seed }),
        Just(Request::Pause),
        Just(Request::Resume),
        Just(Request::Stop),
        (place.clone(), place.clone(), place.clone())
            .prop_map(|(x, y, angle)| Request::MoveBlock { x, y, angle }),
        (place.clone(), place).prop_map(|(x, y)| Request::MoveAgent { x, y }),
        Just(Request::ReleaseAgent),
    ];
    (stamps(), request).prop_map(|(stamp, request)| Message::Command(Command { stamp, request }))
}

fn rotations() -> impl Strategy<Value = [f32; 4]> {
    any::<[i16; 4]>().prop_map(|numbers| {
        let numbers = numbers.map(f32::from);
        let length = numbers
            .iter()
            .map(|number| number * number)
            .sum::<f32>()
            .sqrt();
        if length > 0.0 {
            numbers.map(|number| number / length)
        } else {
            [0.0, 0.0, 0.0, 1.0]
        }
    })
}

fn poses() -> impl Strategy<Value = Message> {
    let place = -1e9..1e9_f64;
    (
        stamps(),
        (any::<u64>(), any::<u64>(), 1..u64::MAX),
        any::<[u32; 2]>(),
        0.0..=1.0_f32,
        [place.clone(), place.clone(), place],
        [finite(), finite(), finite(), finite()],
        vec(rotations(), 1..30),
    )
        .prop_map(
            |(
                stamp,
                times,
                [contacts, flags],
                phase,
                root_position,
                [x, y, z, yaw_rate],
                rotations,
            )| {
                let (frame, frame_ns, period_ns) = times;
                Message::Pose(Pose {
                    stamp,
                    frame,
                    frame_ns,
                    period_ns,
                    contacts: Contacts(contacts),
                    flags: PoseFlags(flags),
                    phase,
                    root_position,
                    root_velocity: [x, y, z],
                    yaw_rate,
                    rotations,
                })
            },
        )
}

fn controls() -> impl Strategy<Value = Message> {
    let point = (0.01..10.0_f32, finite(), finite(), any::<bool>(), finite());
    let path = (Just(ControlMode::Path), vec(point, 1..20));
    let either = prop_oneof![Just((ControlMode::Stick, Vec::new())), path];
    (
        stamps(),
        [finite(), finite(), finite(), finite()],
        [0.0..1e6_f32, 0.0..1e6_f32],
        either,
    )
        .prop_map(
            |(stamp, [x, z, facing_x, facing_z], [diversity, strength], (mode, steps))| {
                let mut time_s = 0.0;
                let points = steps
                    .into_iter()
                    .map(|(passed, x, z, looks, facing)| {
                        time_s += passed;
                        PathPoint {
                            time_s,
                            x,
                            z,
                            facing: looks.then_some(facing),
                        }
                    })
                    .collect();
                Message::Control(Control {
                    stamp,
                    mode,
                    velocity: [x, z],
                    facing: [facing_x, facing_z],
                    diversity,
                    strength,
                    points,
                })
            },
        )
}

fn images() -> impl Strategy<Value = Message> {
    let raw = prop_oneof![
        Just(ImageEncoding::Rgb8),
        Just(ImageEncoding::Bgr8),
        Just(ImageEncoding::Mono8)
    ];
    let pixels = (raw, 1..6_u32, 1..6_u32).prop_flat_map(|(encoding, width, height)| {
        let bytes = (width * height) as usize * encoding.pixel_bytes().unwrap();
        vec(any::<u8>(), bytes).prop_map(move |data| (encoding, width, height, data))
    });
    let file = vec(any::<u8>(), 1..60).prop_map(|data| (ImageEncoding::Jpeg, 0, 0, data));
    (stamps(), "[a-z_äß0-9]{1,16}", prop_oneof![pixels, file]).prop_map(
        |(stamp, name, (encoding, width, height, data))| {
            Message::Image(Image {
                stamp,
                name: Name::new(&name).unwrap(),
                width,
                height,
                encoding,
                data,
            })
        },
    )
}

fn messages() -> impl Strategy<Value = Message> {
    prop_oneof![
        observations(),
        actions(),
        plans(),
        statuses(),
        commands(),
        poses(),
        controls(),
        images()
    ]
}

proptest! {
    #[test]
    fn messages_survive_the_wire(message in messages()) {
        let bytes = encoded(&message);
        let decoded = Message::decode(&bytes).unwrap();
        // Bytes are compared, not messages: NaN differs from itself.
        prop_assert_eq!(encoded(&decoded), bytes);
        prop_assert_eq!(decoded.kind(), message.kind());
    }

    #[test]
    fn finite_messages_survive_json(message in messages()) {
        let finite = match &message {
            Message::Observation(observation) => observation.is_finite(),
            _ => true,
        };
        prop_assume!(finite);
        prop_assert_eq!(Message::from_json(&message.to_json().unwrap()).unwrap(), message);
    }

    #[test]
    fn mutated_messages_never_panic(message in messages(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = encoded(&message);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(decoded) = Message::decode(&bytes) {
            // What decodes is within the limits, so it encodes again.
            prop_assert_eq!(encoded(&decoded).len(), bytes.len());
        }
    }

    #[test]
    fn random_bodies_never_panic(kind in 1..=Kind::ALL.len() as u16, body in vec(any::<u8>(), 0..300)) {
        let mut bytes = golden("action")[..HEADER_BYTES].to_vec();
        bytes[6..8].copy_from_slice(&kind.to_le_bytes());
        bytes[36..40].copy_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend(body);
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Message::decode(&bytes).is_err());
        let _ = Message::from_json(&String::from_utf8_lossy(&bytes));
    }
}
