//! Bytes that anybody may send, changed at random: no decoder panics, hangs or takes memory beyond a bound.
//!
//! Every decoder of what comes from outside is given messages of its golden files with bytes flipped, cut, moved, doubled and
//! replaced by the numbers that break parsers. The test runs itself again under a limit of address space, where a runaway
//! allocation ends the process. `KINESTREAM_DECODER_CASES=1000000000
//! cargo nextest run --test it decoders:: --no-capture` is a long run. VMC, OSC and Live Link are only sent: nothing of them is decoded.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use kinestream_bridge::engines::axes::Axes;
use kinestream_bridge::engines::steering::Steering;
use kinestream_bridge::ros2::messages as ros2;
use kinestream_bridge::ros2::names::Attachment;
use kinestream_bridge::{ActRequest, Health, Message, SkeletonInfo};
use kinestream_motion::formats::bvh;
use kinestream_viewer::{PageInput, character, pusht};
use serde_json::{Value, json};

/// Cases of all decoders together, where the environment asks for no other number.
const CASES: u64 = 10_000_000;
/// What stands at the end of what the other process prints.
const DONE: &str = "decoders, none of them broke";
/// Address space of the process that decodes, in kB; LibTorch's libraries are in it.
const ADDRESS_SPACE_KB: u64 = 3_000_000;
/// What decoding may add to the memory that is really used, in kB.
const GROWTH_KB: u64 = 64_000;

struct Decoder {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    /// Whether the bytes were taken.
    decode: fn(&[u8]) -> bool,
}

#[test]
fn no_bytes_break_a_decoder() {
    let own = std::env::current_exe().unwrap();
    let (_, module) = module_path!().split_once("::").unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -v {ADDRESS_SPACE_KB}; exec \"$0\" --exact {module}::decode_random_bytes --ignored --nocapture"
        ))
        .arg(own)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(
        output.status.success(),
        "a decoder failed: {}",
        output.status
    );
    // A name that no test has would pass, too.
    assert!(text.contains(DONE), "the decoders did not run");
}

#[test]
#[ignore = "run by no_bytes_break_a_decoder, under a limit of memory"]
fn decode_random_bytes() {
    let cases = std::env::var("KINESTREAM_DECODER_CASES")
        .map_or(CASES, |text| text.replace('_', "").parse().unwrap());
    let decoders = decoders();
    let share = cases.div_ceil(decoders.len() as u64);
    let mut all = 0;
    for (index, decoder) in decoders.iter().enumerate() {
        let begun = Instant::now();
        let before = resident_kb();
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1));
        let mut taken = 0_u64;
        for seed in &decoder.seeds {
            assert!(
                (decoder.decode)(seed),
                "{}: a seed is refused",
                decoder.name
            );
        }
        for _ in 0..share {
            let bytes = mutate(&decoder.seeds, &mut numbers);
            let watch = Watch {
                name: decoder.name,
                bytes: &bytes,
            };
            taken += u64::from((decoder.decode)(&bytes));
            std::mem::forget(watch);
        }
        let growth = resident_kb().saturating_sub(before);
        println!(
            "{:32} {share} cases, {:4.1} % taken, {:.1} s, {growth} kB more memory",
            decoder.name,
            100.0 * taken as f64 / share as f64,
            begun.elapsed().as_secs_f64(),
        );
        assert!(growth <= GROWTH_KB, "{} grew by {growth} kB", decoder.name);
        all += share;
    }
    println!("{all} cases, {} {DONE}", decoders.len());
}

/// Says which bytes broke a decoder.
struct Watch<'a> {
    name: &'static str,
    bytes: &'a [u8],
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        eprintln!("{} broke on {:02x?}", self.name, self.bytes);
    }
}

fn decoders() -> Vec<Decoder> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("bridge/golden");
    let wire: Vec<Value> =
        serde_json::from_slice(&std::fs::read(golden.join("wire_v1.json")).unwrap()).unwrap();
    let bytes = wire
        .iter()
        .map(|message| {
            let hex: String = message["bytes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| line.as_str().unwrap())
                .collect();
            (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect()
        })
        .collect();
    let mirror = wire
        .iter()
        .map(|message| message["json"].to_string().into_bytes())
        .collect();
    let cdr = |name: &str| {
        vec![std::fs::read(golden.join("ros2").join(name).with_extension("cdr")).unwrap()]
    };
    let texts = |texts: &[Value]| {
        texts
            .iter()
            .map(|text| text.to_string().into_bytes())
            .collect()
    };
    let decoder = |name, seeds, decode| Decoder {
        name,
        seeds,
        decode,
    };
    macro_rules! message {
        ($type:ident, $file:literal) => {
            decoder($file, cdr($file), |bytes| {
                <ros2::$type as ros2::Message>::decode(bytes).is_ok()
            })
        };
    }
    vec![
        decoder("wire", bytes, |bytes| Message::decode(bytes).is_ok()),
        decoder("wire, JSON mirror", mirror, |bytes| {
            // What is read is checked when it is encoded: neither may fail badly.
            let read = text(bytes).and_then(|text| Message::from_json(text).ok());
            let mut out = Vec::new();
            read.is_some_and(|message| message.encode_into(&mut out).is_ok())
        }),
        message!(Text, "std_msgs-String"),
        message!(Float64MultiArray, "std_msgs-Float64MultiArray"),
        message!(JointState, "sensor_msgs-JointState"),
        message!(JointTrajectory, "trajectory_msgs-JointTrajectory"),
        message!(Twist, "geometry_msgs-Twist"),
        message!(PoseStamped, "geometry_msgs-PoseStamped"),
        message!(TfMessage, "tf2_msgs-TFMessage"),
        message!(Image, "sensor_msgs-Image"),
        message!(CompressedImage, "sensor_msgs-CompressedImage"),
        decoder("attachment of rmw_zenoh", vec![attachment()], |bytes| {
            Attachment::decode(bytes).is_ok()
        }),
        decoder("health", vec![health()], |bytes| {
            Health::from_json(bytes).is_ok()
        }),
        decoder("skeleton", texts(&[skeleton()]), |bytes| {
            serde_json::from_slice(bytes).is_ok_and(|value| SkeletonInfo::from_value(value).is_ok())
        }),
        decoder(
            "request for a clip",
            texts(&[
                json!({"action": "jump", "seconds": 2.5, "seed": 7}),
                json!({"action": "turn left"}),
            ]),
            |bytes| ActRequest::parse(bytes).is_ok(),
        ),
        decoder(
            "steering over a WebSocket",
            texts(&[
                json!({"velocity": [0, 1.5], "facing": [1, 0], "diversity": 1, "strength": 1}),
            ]),
            |bytes| text(bytes).is_some_and(|text| Steering::parse(text, Axes::Unreal).is_ok()),
        ),
        decoder(
            "page of Push-T",
            texts(&[
                json!({"type": "drag_block", "x": 1.0, "y": 2.5, "angle": 0.5}),
                json!({"type": "push_agent", "vx": -100, "vy": 20}),
                json!({"type": "reset", "seed": 7}),
            ]),
            |bytes| text(bytes).is_some_and(|text| pusht::Input::from_json(text).is_ok()),
        ),
        decoder(
            "page of the character",
            texts(&[
                json!({"type": "stick", "velocity": [0, 1.4], "facing": [0, 1]}),
                json!({"type": "path", "points": [[0, 1], [2, 3.5]], "speed": 2}),
                json!({"type": "knobs", "diversity": 1, "strength": 0.5}),
                json!({"type": "act", "action": "jump"}),
            ]),
            |bytes| text(bytes).is_some_and(|text| character::Input::from_json(text).is_ok()),
        ),
        decoder("BVH", vec![BVH.as_bytes().to_vec()], |bytes| {
            text(bytes).is_some_and(|text| bvh::parse(text, Path::new("it.bvh")).is_ok())
        }),
    ]
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn attachment() -> Vec<u8> {
    Attachment {
        sequence: 7,
        sent_ns: 1_700_000_000_000_000_000,
        gid: [3; 16],
    }
    .encode()
    .to_vec()
}

fn health() -> Vec<u8> {
    let health = Health {
        robot: "arm".to_owned(),
        reason: Some("an emergency stop was requested".to_owned()),
        ..Health::default()
    };
    serde_json::to_vec(&health).unwrap()
}

fn skeleton() -> Value {
    json!({
        "joints": [
            {"name": "hips", "parent": null, "offset": [0.0, 0.95, 0.0]},
            {"name": "left_foot", "parent": 0, "offset": [0.1, -0.9, 0.0]},
        ],
        "ends": [{"joint": 1, "offset": [0.0, 0.0, 0.15]}],
    })
}

const BVH: &str = "HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT Spine
  {
    OFFSET 0 10.5 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    End Site
    {
      OFFSET 0 5 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.0333
0 90 0 1 2 3 4 5 6
0 91 0 1 2 3 4 5 6.5
";

/// One to four changes of a seed; in half of the cases the length stays, so that more of a decoder is reached.
fn mutate(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = seeds[numbers.below(seeds.len())].clone();
    let in_place = numbers.below(2) == 0;
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let rest = bytes.len() - at;
        let change = match in_place {
            true => [0, 1, 7][numbers.below(3)],
            false => numbers.below(9),
        };
        match change {
            0 if rest > 0 => bytes[at] ^= 1 << numbers.below(8),
            1 if rest > 0 => bytes[at] = numbers.next() as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, numbers.next() as u8),
            4 => {
                let end = at + numbers.below(rest + 1);
                bytes.drain(at..end);
            }
            5 => {
                let end = at + numbers.below(rest.min(64) + 1);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => {
                let other = &seeds[numbers.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[numbers.below(other.len() + 1)..]);
            }
            7 => {
                let number = EXTREME[numbers.below(EXTREME.len())].to_le_bytes();
                let width = [1, 2, 4, 8][numbers.below(4)].min(rest);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            _ => {
                let piece = WORDS[numbers.below(WORDS.len())];
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
    bytes
}

/// Lengths and floating-point patterns at the edges of what parsers handle.
const EXTREME: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    i64::MAX as u64,
    u64::MAX,
    0x7ff0_0000_0000_0000,
    0x7ff8_0000_7fc0_0000,
];
/// What breaks parsers of text.
const WORDS: [&str; 14] = [
    "1e999",
    "-0",
    "NaN",
    "null",
    "[[[[[[[[",
    "{",
    "}",
    "\"",
    "\\u0000",
    ",",
    "999999999999",
    "\u{1F600}",
    "-",
    "\n",
];

/// SplitMix64: the same cases in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Memory of this process that is really there, in kB; 0 where the system does not say.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}
