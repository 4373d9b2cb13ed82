//! Every array of the fixtures with its chunks damaged: the archive's own checksums would hide that from the codecs.

use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::zip::{Archive, Limits};

const LIMITS: Limits = Limits {
    entries: 10_000,
    directory_bytes: 1 << 20,
};

/// Unpacks an archive of the fixtures and tells the names of its arrays.
fn unpacked(version: &str) -> (tempfile::TempDir, Vec<String>) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let file = File::open(fixtures.join(format!("arrays-{version}.zarr.zip"))).unwrap();
    let mut archive = Archive::open_with(file, LIMITS).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = archive.names().map(str::to_owned).collect();
    for name in &names {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, archive.read(name, 1 << 20).unwrap()).unwrap();
    }
    let arrays = names.iter().filter_map(|name| {
        let array = name
            .strip_suffix("/.zarray")
            .or(name.strip_suffix("/zarr.json"))?;
        Store::open(folder.path())
            .and_then(|store| ArrayInfo::open(&store, array))
            .ok()?;
        Some(array.to_owned())
    });
    let arrays = arrays.collect();
    (folder, arrays)
}

#[test]
fn damaged_chunks_of_every_codec_are_refused_by_file_or_read_never_a_panic() {
    for (version, least) in [("v2", 90), ("v3", 70)] {
        let (folder, arrays) = unpacked(version);
        assert!(arrays.len() >= least, "{version}: {}", arrays.len());
        let store = Store::open(folder.path()).unwrap();
        let mut random = kinestream_random::NoiseStream::new(5);
        for name in &arrays {
            let info = ArrayInfo::open(&store, name).unwrap();
            let sound = info.read().unwrap();
            let chunk = info.present().unwrap().chunks.values().next().unwrap()[0].clone();
            let path = info.chunk_place(&chunk);
            let bytes = std::fs::read(&path).unwrap();
            for round in 0..20 {
                let mut damaged = bytes.clone();
                match round % 3 {
                    0 => damaged.truncate(random.below(bytes.len())),
                    1 => damaged[random.below(bytes.len().min(40))] = random.below(256) as u8,
                    _ => damaged[random.below(bytes.len())] ^= 1 << random.below(8),
                }
                let cut = damaged.len() < bytes.len();
                std::fs::write(&path, damaged).unwrap();
                match info.read() {
                    Ok(found) => {
                        assert!(!cut, "{version} {name}: a cut was not noticed");
                        assert_eq!(found.values.len(), sound.values.len(), "{version} {name}");
                    }
                    Err(error) => {
                        let message = error.to_string();
                        assert!(
                            message.starts_with(&path.display().to_string()),
                            "{message}"
                        );
                        assert!(!message.contains('\n'), "{message}");
                    }
                }
            }
        }
    }
}

/// The description of an array of two chunks, changed; what is said of it.
fn described(file: &str, description: &Value, chunk: &str) -> Result<Array> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(file), description.to_string()).unwrap();
    let chunk = folder.path().join(chunk);
    std::fs::create_dir_all(chunk.parent().unwrap()).unwrap();
    std::fs::write(chunk, [0; 8]).unwrap();
    ArrayInfo::open(&Store::open(folder.path())?, "")?.read()
}

fn v2() -> Value {
    json!({ "zarr_format": 2, "shape": [4], "chunks": [2], "dtype": "<f4", "order": "C", "compressor": null,
            "filters": null, "fill_value": 0 })
}

fn v3() -> Value {
    json!({ "zarr_format": 3, "node_type": "array", "shape": [4], "data_type": "float32",
            "chunk_grid": { "name": "regular", "configuration": { "chunk_shape": [2] } },
            "chunk_key_encoding": { "name": "default" }, "fill_value": 0, "codecs": ["bytes"] })
}

#[test]
fn what_is_not_read_is_named_with_the_remedy() {
    assert_eq!(described(".zarray", &v2(), "0").unwrap().values, [0.0; 4]);
    assert_eq!(
        described("zarr.json", &v3(), "c/0").unwrap().values,
        [0.0; 4]
    );
    let remedy = "Blosc zstd";
    let codec = |name: &str| json!([{ "name": "bytes" }, { "name": name }]);
    let cases = [
        (
            v2(),
            "compressor",
            json!({ "id": "imagecodecs_jpegxl" }),
            vec!["imagecodecs_jpegxl", "pictures", remedy],
        ),
        (
            v2(),
            "compressor",
            json!({ "id": "imagecodecs_jpeg2k" }),
            vec!["imagecodecs_jpeg2k", "pictures", remedy],
        ),
        (
            v2(),
            "compressor",
            json!({ "id": "zfpy" }),
            vec!["zfpy", remedy],
        ),
        (
            v2(),
            "compressor",
            json!({ "id": "lz77" }),
            vec!["`lz77`", "expected one of", "lz4", remedy],
        ),
        (v2(), "compressor", json!({ "level": 3 }), vec!["no `id`"]),
        (
            v2(),
            "filters",
            json!([{ "id": "vlen-utf8" }]),
            vec!["vlen-utf8", "no numbers"],
        ),
        (
            v2(),
            "filters",
            json!([{ "id": "delta", "dtype": "|O" }]),
            vec!["delta", "`|O`"],
        ),
        (
            v2(),
            "filters",
            json!([{ "id": "astype" }]),
            vec!["astype", "encode_dtype"],
        ),
        (v2(), "dtype", json!([["x", "<f4"]]), vec!["fields"]),
        (v2(), "dtype", json!("|O"), vec!["`|O`", "astype"]),
        (v2(), "order", json!("K"), vec!["`K`", "`C` or `F`"]),
        (
            v2(),
            "fill_value",
            json!("zero"),
            vec!["fill_value", "zero"],
        ),
        (v2(), "chunks", json!([2, 2]), vec!["do not fit"]),
        (v2(), "chunks", json!([0]), vec!["do not fit"]),
        (v2(), "shape", json!([]), vec!["do not fit"]),
        (
            v2(),
            "shape",
            json!([1_u64 << 40]),
            vec!["announces more than", "damaged"],
        ),
        (
            v2(),
            "shape",
            json!([1_u64 << 32]),
            vec!["only 1 of its 2147483648 chunks"],
        ),
        (
            v2(),
            "shape",
            json!([400]),
            vec!["only 1 of its 200 chunks", "not copied whole"],
        ),
        (
            v2(),
            "chunks",
            json!([1_u64 << 32]),
            vec!["/0", "truncated"],
        ),
        (
            v2(),
            "zarr_format",
            json!(3),
            vec!["format 3", "expected 2"],
        ),
        (
            v3(),
            "node_type",
            json!("group"),
            vec!["a group, expected an array"],
        ),
        (
            v3(),
            "data_type",
            json!("bfloat16"),
            vec!["`bfloat16`", "astype"],
        ),
        (
            v3(),
            "data_type",
            json!({ "name": "numpy.datetime64", "configuration": {} }),
            vec!["numpy.datetime64"],
        ),
        (v3(), "codecs", json!([]), vec!["no codec makes bytes"]),
        (
            v3(),
            "codecs",
            json!(["bytes", "bytes"]),
            vec!["`bytes`", "behind one that makes bytes"],
        ),
        (
            v3(),
            "codecs",
            codec("numcodecs.pcodec"),
            vec!["pcodec", remedy],
        ),
        (
            v3(),
            "codecs",
            codec("imagecodecs_jpegxl"),
            vec!["imagecodecs_jpegxl", remedy],
        ),
        (
            v3(),
            "codecs",
            json!([{ "name": "transpose", "configuration": { "order": [1] } }, "bytes"]),
            vec!["no permutation"],
        ),
        (
            v3(),
            "chunk_grid",
            json!({ "name": "rectilinear" }),
            vec!["rectilinear", "regular"],
        ),
        (
            v3(),
            "chunk_key_encoding",
            json!("fanout"),
            vec!["fanout", "default"],
        ),
        (
            v3(),
            "storage_transformers",
            json!(["x"]),
            vec!["storage transformers"],
        ),
        (
            v3(),
            "zarr_format",
            json!(2),
            vec!["format 2", "expected 3"],
        ),
    ];
    for (mut description, key, value, words) in cases {
        let (file, chunk) = match description.get("node_type") {
            Some(_) => ("zarr.json", "c/0"),
            None => (".zarray", "0"),
        };
        description[key] = value;
        let message = described(file, &description, chunk)
            .unwrap_err()
            .to_string();
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
        assert!(!message.contains('\n'), "{message}");
    }
    let message = described(".zarray", &v2(), "9").unwrap_err().to_string();
    assert!(
        message.contains("none of its 2 chunks is there"),
        "{message}"
    );
    let message = described("zarr", &v2(), "9").unwrap_err().to_string();
    assert!(
        message.contains("neither .zarray nor zarr.json"),
        "{message}"
    );
}

#[test]
fn shards_with_hostile_indices_are_refused() {
    let mut description = v3();
    description["codecs"] = json!([{ "name": "sharding_indexed", "configuration": {
        "chunk_shape": [1], "codecs": ["bytes"], "index_codecs": ["bytes"] } }]);
    description["shape"] = json!([2]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("zarr.json"), description.to_string()).unwrap();
    std::fs::create_dir(folder.path().join("c")).unwrap();
    let read = |entries: [u64; 4]| {
        let mut shard = 1.5_f32.to_le_bytes().to_vec();
        shard.extend(entries.iter().flat_map(|entry| entry.to_le_bytes()));
        std::fs::write(folder.path().join("c/0"), shard).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let array = ArrayInfo::open(&store, "").and_then(|info| info.read());
        array
            .map(|array| array.values)
            .map_err(|error| error.to_string())
    };
    assert_eq!(read([0, 4, u64::MAX, u64::MAX]), Ok(vec![1.5, 0.0]));
    assert_eq!(read([u64::MAX, u64::MAX, 0, 4]), Ok(vec![0.0, 1.5]));
    for entries in [
        [0, 4, 40, 4],
        [0, 4, u64::MAX - 1, 4],
        [0, 4, 4, u64::MAX - 2],
        [0, 3, 0, 4],
        [u64::MAX; 4],
    ] {
        let message = read(entries).unwrap_err();
        assert!(
            message.contains("c/0: ") && message.contains("inner chunk"),
            "{message}"
        );
    }
    for (key, value) in [
        ("chunk_shape", json!([3])),
        ("chunk_shape", json!([0])),
        ("index_location", json!("middle")),
    ] {
        let mut wrong = description.clone();
        wrong["codecs"][0]["configuration"][key] = value;
        let message = described("zarr.json", &wrong, "c/0")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("divide") || message.contains("middle"),
            "{message}"
        );
    }
}
