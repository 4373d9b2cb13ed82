//! Stores that zarr 2 and zarr 3 wrote, an array for every codec, number type and layout: each is read to the values that were
//! written. `tests/zarr/make_stores.py` made them and says what they hold.

use std::path::{Path, PathBuf};

use kinestream_policy::config::{ObservationPart, TaskConfig};
use kinestream_policy::data::{Array, ArrayInfo, Episodes, Store};

#[test]
fn every_codec_type_and_layout_of_both_formats_is_read() {
    for (version, least) in [("v2", 90), ("v3", 70)] {
        let store = Store::open(&fixture(&format!("arrays-{version}.zarr.zip"))).unwrap();
        let names = std::fs::read_to_string(fixture(&format!("arrays-{version}.txt"))).unwrap();
        let read = |name: &str| -> Array {
            let array = ArrayInfo::open(&store, name).and_then(|info| info.read());
            array.unwrap_or_else(|error| panic!("{version}: {error}"))
        };
        let mut count = 0;
        for name in names.lines() {
            match name.split_once('/').unwrap().0 {
                "pairs" => {
                    let [stored, plain] =
                        ["stored", "plain"].map(|it| read(&format!("{name}/{it}")));
                    assert_eq!(stored.values, plain.values, "{version} {name}");
                    assert_eq!(stored.shape, plain.shape, "{version} {name}");
                }
                values => {
                    let array = read(name);
                    let (shape, expected) = written(values);
                    assert_eq!(array.shape, shape, "{version} {name}");
                    let same = |(found, expected): (&f32, &f32)| {
                        found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan()
                    };
                    let wrong = array
                        .values
                        .iter()
                        .zip(&expected)
                        .position(|pair| !same(pair));
                    assert_eq!(array.values.len(), expected.len(), "{version} {name}");
                    assert_eq!(wrong, None, "{version} {name}: {:?}", &array.values[..30]);
                }
            }
            count += 1;
        }
        println!("{version}: {count} arrays read");
        assert!(count >= least, "{count}");
    }
}

#[test]
fn whole_numbers_are_exact_and_pictures_are_bytes() {
    for (version, name) in [
        ("v2", "large/ends"),
        ("v2", "large/ends-u8-big"),
        ("v3", "large/ends"),
    ] {
        let store = Store::open(&fixture(&format!("arrays-{version}.zarr.zip"))).unwrap();
        let first = (1_usize << 53) + 1;
        let found = ArrayInfo::open(&store, name)
            .unwrap()
            .read_indices()
            .unwrap();
        assert_eq!(
            found,
            (first..first + 5).collect::<Vec<_>>(),
            "{version} {name}"
        );
    }
    let store = Store::open(&fixture("arrays-v2.zarr.zip")).unwrap();
    let bytes = |name| ArrayInfo::open(&store, name).unwrap().read_bytes();
    let (_, cube) = written("cube");
    let cube: Vec<u8> = cube.into_iter().map(|value| value as u8).collect();
    assert_eq!(bytes("cube/chunks").unwrap(), cube);
    assert_eq!(bytes("cube/order-f").unwrap(), cube);
    let message = bytes("noise/blosc-lz4").unwrap_err().to_string();
    says(
        &message,
        &[
            "noise/blosc-lz4",
            "row 0 holds",
            "brightnesses from 0 to 255",
        ],
    );
    let indices = |name| ArrayInfo::open(&store, name).unwrap().read_indices();
    let message = indices("pairs/half/stored").unwrap_err().to_string();
    says(&message, &["pairs/half/stored", "whole numbers"]);
    let message = indices("gaps/fill-0").unwrap_err().to_string();
    says(
        &message,
        &[
            "gaps/fill-0/1.0",
            "chunk 1 of 3 is missing",
            "not copied whole",
        ],
    );
}

#[test]
fn replay_buffers_are_read_from_folders_and_archives() {
    for name in ["buffer-v2.zarr", "buffer-v3.zarr", "packed-v2.zip"] {
        let episodes = Episodes::read(&fixture(name), &task()).unwrap();
        assert_eq!(episodes.ends, [100, 180, 280], "{name}");
        assert_eq!(
            (episodes.observation_size, episodes.action_size),
            (3, 2),
            "{name}"
        );
        assert_eq!(episodes.observations, written("smooth").1, "{name}");
        let wave = |row: usize, column: usize| (row as f64 * 0.1 + column as f64).sin();
        for (at, value) in episodes.actions.iter().enumerate() {
            let expected = wave(at / 2, at % 2);
            assert!(
                (f64::from(*value) - expected).abs() < 1e-6,
                "{name} {at}: {value}"
            );
        }
    }
}

#[test]
fn cut_and_flipped_bytes_are_one_line_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for (version, suffix) in [("v2", "0.0"), ("v3", "c/0/0")] {
        let source = fixture(&format!("buffer-{version}.zarr/data/obs"));
        let copy = folder.path().join(version);
        copy_folder(&source, &copy);
        let chunk = copy.join(suffix);
        let bytes = std::fs::read(&chunk).unwrap();
        let read = || {
            let store = Store::open(folder.path()).unwrap();
            ArrayInfo::open(&store, version).unwrap().read()
        };
        assert_eq!(read().unwrap().values, written("smooth").1);
        for length in 0..bytes.len() {
            std::fs::write(&chunk, &bytes[..length]).unwrap();
            says(
                &read().unwrap_err().to_string(),
                &[&format!("{version}/{suffix}")],
            );
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x40, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                std::fs::write(&chunk, damaged).unwrap();
                match read() {
                    Ok(array) => assert_eq!((array.shape, array.values.len()), (vec![280, 3], 840)),
                    Err(error) => says(&error.to_string(), &[&format!("{version}/{suffix}")]),
                }
            }
        }
        // More than such a chunk can ever have.
        std::fs::write(&chunk, vec![0; 1 << 20]).unwrap();
        says(&read().unwrap_err().to_string(), &[suffix, "more than"]);
    }
}

#[test]
fn damaged_archives_are_one_line_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("all.zarr.zip");
    for version in ["v2", "v3"] {
        let bytes = std::fs::read(fixture(&format!("arrays-{version}.zarr.zip"))).unwrap();
        let names = std::fs::read_to_string(fixture(&format!("arrays-{version}.txt"))).unwrap();
        let mut random = kinestream_diffusion::noise::NoiseStream::new(22);
        let (mut refused, mut read) = (0, 0);
        for _ in 0..40 {
            let mut damaged = bytes.clone();
            // Local data and their announcements; the directory at the end has tests of its own.
            for _ in 0..200 {
                let at = random.below(bytes.len() * 2 / 3);
                damaged[at] ^= 1 << random.below(8);
            }
            std::fs::write(&archive, damaged).unwrap();
            let Ok(store) = Store::open(&archive) else {
                continue;
            };
            for name in names.lines().filter(|name| !name.starts_with("pairs")) {
                match ArrayInfo::open(&store, name).and_then(|info| info.read()) {
                    Ok(_) => read += 1,
                    Err(error) => {
                        says(&error.to_string(), &["all.zarr.zip", name]);
                        refused += 1;
                    }
                }
            }
        }
        println!("{version}: {refused} refused, {read} read");
        assert!(refused > 0 && read > 0);
    }
}

/// Shape and values of the arrays whose names begin so.
fn written(values: &str) -> (Vec<usize>, Vec<f32>) {
    let smooth = |row: usize, column: usize| ((row / 4 + 5 * column) % 100) as f32;
    let gaps = |row: usize, column: usize, fill: f32| {
        if (100..200).contains(&row) {
            fill
        } else {
            smooth(row, column) + 1.0
        }
    };
    let noise = |row: usize, column: usize| {
        let mixed = (row as u32)
            .wrapping_mul(2_654_435_761)
            .wrapping_add(97 * column as u32 + 12345);
        (mixed.wrapping_mul(2_246_822_519) >> 8) as f32
    };
    let table = |rows: usize, value: &dyn Fn(usize, usize) -> f32| {
        let values = (0..3 * rows).map(|at| value(at / 3, at % 3));
        (vec![rows, 3], values.collect())
    };
    match values {
        "smooth" => table(280, &smooth),
        "cube" => (vec![70, 4, 3], table(280, &smooth).1),
        "flags" => table(280, &|row, column| smooth(row, column) % 2.0),
        "noise" => table(90, &noise),
        "gaps" => table(280, &|row, column| gaps(row, column, 0.0)),
        "sevens" => table(280, &|row, column| gaps(row, column, 7.0)),
        "nans" => table(280, &|row, column| gaps(row, column, f32::NAN)),
        "far" => {
            let byte = |at: u32| ((at % 8400).wrapping_mul(2_246_822_519) >> 24) as f32;
            (vec![16800], (0..16800).map(byte).collect())
        }
        "large" => {
            let first = (1_u64 << 53) + 1;
            (vec![5], (first..first + 5).map(|end| end as f32).collect())
        }
        other => panic!("no values `{other}`"),
    }
}

fn task() -> TaskConfig {
    TaskConfig {
        name: "some".into(),
        observation: vec![ObservationPart {
            array: "obs".into(),
            columns: None,
            image: None,
        }],
        action: "action".into(),
        rate_hz: 10.0,
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../zarr/tests/fixtures")
        .join(name)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!message.contains('\n'), "{message}");
}
