//! Golden bytes, limits, and what happens to bytes that are not messages.

use serde::Deserialize;

use super::*;

/// Bytes and JSON mirror of one message of every kind; the clients' tests read the same file.
#[derive(Deserialize)]
struct Golden {
    name: String,
    bytes: Vec<String>,
    json: serde_json::Value,
}

impl Golden {
    fn all() -> Vec<(String, Vec<u8>, serde_json::Value)> {
        let list: Vec<Self> =
            serde_json::from_str(include_str!("../../bridge/golden/wire_v1.json")).unwrap();
        list.into_iter()
            .map(|golden| (golden.name, from_hex(&golden.bytes.concat()), golden.json))
            .collect()
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

pub(super) fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes).unwrap();
    bytes
}

pub(super) fn golden(name: &str) -> Vec<u8> {
    Golden::all()
        .into_iter()
        .find(|(found, _, _)| found == name)
        .unwrap()
        .1
}

#[test]
fn golden_bytes_and_json_say_the_same() {
    for (name, bytes, json) in Golden::all() {
        let message = Message::decode(&bytes).unwrap();
        assert_eq!(encoded(&message), bytes, "{name}");
        assert_eq!(
            Message::from_json(&json.to_string()).unwrap(),
            message,
            "{name}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&message.to_json().unwrap()).unwrap(),
            json,
            "{name}"
        );
    }
}

#[test]
fn golden_plan_is_read_field_by_field() {
    let bytes = golden("plan");
    let plan = Plan::view(&bytes).unwrap();
    let stamp = Stamp {
        sequence: 7,
        monotonic_ns: 123_456_789_012,
        wall_ns: 1_790_000_000_123_456_789,
        stream: 3,
    };
    assert_eq!(plan.stamp, stamp);
    assert_eq!((plan.chunk, plan.observation_sequence), (41, 7));
    assert_eq!(
        (plan.horizon(), plan.dims, plan.committed, plan.levels),
        (3, 2, 1, 16)
    );
    assert_eq!(plan.noise.to_vec(), [0.0, 0.5, 1.0]);
    assert_eq!(plan.level.to_vec(), [0, 8, 16]);
    assert_eq!(plan.action(2, 1), Some(6.0));
    assert_eq!(plan.action(3, 0), None);
    assert_eq!(plan.action(0, 2), None);
}

#[test]
fn slices_encode_to_the_same_bytes_without_growing_the_buffer() {
    let bytes = golden("plan");
    let plan = Plan::decode(&bytes).unwrap();
    let mut buffer = Vec::with_capacity(bytes.len());
    let place = buffer.as_ptr();
    for _ in 0..3 {
        let slices = PlanSlice {
            stamp: plan.stamp,
            chunk: plan.chunk,
            observation_sequence: plan.observation_sequence,
            first_action_ns: plan.first_action_ns,
            period_ns: plan.period_ns,
            dims: plan.dims,
            committed: plan.committed,
            levels: plan.levels,
            noise: plan.noise.as_slice(),
            level: plan.level.as_slice(),
            actions: plan.actions.as_slice(),
        };
        slices.encode_into(&mut buffer).unwrap();
        assert_eq!(buffer, bytes);
        assert_eq!(buffer.as_ptr(), place);
    }
    // A view encodes as well: forwarding needs no owned message.
    Plan::view(&bytes)
        .unwrap()
        .encode_into(&mut buffer)
        .unwrap();
    assert_eq!(buffer, bytes);
}

#[test]
fn wrong_headers_are_refused_by_name() {
    let good = golden("action");
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Message::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(0, b'J'), DecodeError::Magic { found: *b"JNST" });
    assert_eq!(with(4, 2), DecodeError::Version { found: 2 });
    assert_eq!(with(6, 99), DecodeError::UnknownKind { found: 99 });
    assert!(matches!(
        with(39, 255),
        DecodeError::Content(ContentError::TooLarge {
            field: "body_bytes",
            ..
        })
    ));
    let wrong_kind = DecodeError::WrongKind {
        expected: Kind::Plan,
        found: Kind::Action,
    };
    assert_eq!(Plan::decode(&good).unwrap_err(), wrong_kind);
    assert_eq!(wrong_kind.to_string(), "kind: expected plan, found action");
    let message = DecodeError::Version { found: 2 }.to_string();
    assert_eq!(
        message,
        "version: expected 1, found 2; bring sender and receiver to the same release"
    );
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    for (name, bytes, _) in Golden::all() {
        for length in 0..bytes.len() {
            assert!(
                Message::decode(&bytes[..length]).is_err(),
                "{name} cut to {length}"
            );
        }
        let mut longer = bytes.clone();
        longer.push(0);
        let expected = DecodeError::Length {
            expected: bytes.len(),
            found: bytes.len() + 1,
        };
        assert_eq!(Message::decode(&longer).unwrap_err(), expected, "{name}");
        // The header agrees with the length but the counts do not.
        longer[36] += 1;
        assert_eq!(Message::decode(&longer).unwrap_err(), expected, "{name}");
    }
}

#[test]
fn counts_beyond_the_bounds_are_refused_before_anything_is_read() {
    let mut plan = golden("plan");
    plan[72..76].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = Message::decode(&plan).unwrap_err();
    assert!(
        matches!(
            error,
            DecodeError::Content(ContentError::TooLarge {
                field: "horizon",
                ..
            })
        ),
        "{error}"
    );
    let mut plan = golden("plan");
    plan[76..80].copy_from_slice(&(MAX_VALUES as u32).to_le_bytes());
    let error = Message::decode(&plan).unwrap_err();
    assert!(
        matches!(
            error,
            DecodeError::Content(ContentError::TooLarge {
                field: "horizon * dims",
                ..
            })
        ),
        "{error}"
    );
}

#[test]
fn non_finite_numbers_pass_in_observations_only() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let observation = Observation {
            stamp: Stamp::default(),
            name: Name::new("state").unwrap(),
            values: vec![1.0, bad],
        };
        let mut bytes = Vec::new();
        observation.encode_into(&mut bytes).unwrap();
        let view = Observation::view(&bytes).unwrap();
        assert!(!view.is_finite());
        assert_eq!(view.values.get(1).unwrap().to_bits(), bad.to_bits());
        let owned = Message::decode(&bytes).unwrap();
        assert!(owned.to_json().unwrap().contains("[1.0,null]"));

        let mut action = Action::decode(&golden("action")).unwrap();
        action.values[1] = bad as f32;
        let expected = ContentError::NotFinite {
            field: "values",
            index: 1,
        };
        assert_eq!(action.encode_into(&mut bytes), Err(expected.clone()));
        assert!(bytes.is_empty());
        let mut bytes = golden("action");
        bytes[76..80].copy_from_slice(&(bad as f32).to_le_bytes());
        assert_eq!(Action::decode(&bytes), Err(expected.into()));
        let mut bytes = golden("plan");
        bytes[132..136].copy_from_slice(&(bad as f32).to_le_bytes());
        assert_eq!(
            Plan::decode(&bytes),
            Err(ContentError::NotFinite {
                field: "actions",
                index: 5
            }
            .into())
        );
        bytes[88..92].copy_from_slice(&(bad as f32).to_le_bytes());
        assert!(matches!(
            Plan::decode(&bytes),
            Err(DecodeError::Content(ContentError::OutOfRange {
                field: "noise",
                ..
            }))
        ));
    }
}

#[test]
fn plans_that_contradict_themselves_do_not_encode() {
    let good = Plan::decode(&golden("plan")).unwrap();
    let refused = |change: fn(&mut Plan)| {
        let mut plan = good.clone();
        change(&mut plan);
        plan.encode_into(&mut Vec::new()).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|plan| plan.level = vec![0]),
        "level: expected 3 values, found 1"
    );
    assert_eq!(
        refused(|plan| plan.actions.truncate(5)),
        "actions: expected 6 values, found 5"
    );
    assert_eq!(
        refused(|plan| plan.committed = 4),
        "committed: expected at most 3, found 4"
    );
    assert_eq!(
        refused(|plan| plan.level[2] = 17),
        "level: expected at most 16, found 17"
    );
    assert_eq!(
        refused(|plan| plan.noise[0] = -0.5),
        "noise: expected 0 to 1, found -0.5"
    );
    assert_eq!(
        refused(|plan| plan.period_ns = 0),
        "period_ns: expected at least 1, found 0"
    );
    assert_eq!(
        refused(|plan| plan.levels = 0),
        "levels: expected at least 1, found 0"
    );
}

#[test]
fn names_are_bounded_plain_text() {
    assert_eq!(Name::new(&"x".repeat(32)).unwrap().as_str().len(), 32);
    for bad in ["", &"x".repeat(33), "a\0b", "a\nb"] {
        assert!(Name::new(bad).is_err(), "{bad:?}");
    }
    let mut bytes = golden("observation_f64");
    bytes[48] = 0xff;
    assert!(matches!(
        Message::decode(&bytes),
        Err(DecodeError::Content(ContentError::Text {
            field: "name",
            ..
        }))
    ));
}

#[test]
fn the_longest_message_is_as_long_as_documented() {
    let observation = Observation {
        stamp: Stamp::default(),
        name: Name::new("state").unwrap(),
        values: vec![0.0_f64; MAX_VALUES],
    };
    let mut bytes = Vec::new();
    observation.encode_into(&mut bytes).unwrap();
    assert_eq!(bytes.len(), MAX_MESSAGE_BYTES);
    assert!(Observation::decode(&bytes).is_ok());
}

#[test]
fn unknown_json_keys_and_values_are_refused() {
    let json = Message::decode(&golden("plan")).unwrap().to_json().unwrap();
    assert!(Message::from_json(&json.replace("\"chunk\"", "\"chank\"")).is_err());
    let json = Message::decode(&golden("status"))
        .unwrap()
        .to_json()
        .unwrap();
    assert!(Message::from_json(&json.replace("running", "walking")).is_err());
    let json = Message::decode(&golden("command_reset"))
        .unwrap()
        .to_json()
        .unwrap();
    assert!(Message::from_json(&json.replace("reset", "explode")).is_err());
}

#[test]
fn pictures_are_as_large_as_they_say() {
    let good = Image::decode(&golden("image_rgb8")).unwrap();
    assert_eq!((good.width, good.height, good.name.as_str()), (2, 1, "top"));
    let refused = |change: fn(&mut Image)| {
        let mut image = good.clone();
        change(&mut image);
        let mut out = vec![1];
        let error = image.encode_into(&mut out).unwrap_err();
        assert!(out.is_empty());
        error.to_string()
    };
    for (error, word) in [
        (refused(|image| image.width = 3), "data"),
        (refused(|image| image.height = 0), "height"),
        (refused(|image| image.width = u32::MAX), "width"),
        (
            refused(|image| image.encoding = ImageEncoding::Mono8),
            "data",
        ),
        (
            refused(|image| {
                image.encoding = ImageEncoding::Jpeg;
                image.data.clear();
            }),
            "data",
        ),
        (
            refused(|image| {
                image.encoding = ImageEncoding::Jpeg;
                image.data = vec![0; MAX_IMAGE_BYTES + 1];
            }),
            "data",
        ),
    ] {
        assert!(error.contains(word), "{error}");
    }
    // A file may leave its size to itself, pixels may not.
    let mut bytes = golden("image_jpeg");
    assert_eq!(Image::decode(&bytes).unwrap().width, 0);
    bytes[48] = 1;
    assert!(Image::decode(&bytes).is_err());
    bytes[48] = 9;
    assert_eq!(
        Image::decode(&bytes),
        Err(DecodeError::UnknownCode {
            field: "encoding",
            found: 9
        })
    );
}
