//! Arrays cut into chunks along all axes come back, those that are missing as fill values.

use proptest::prelude::*;
use serde_json::json;

use super::*;

proptest! {
    /// Plain arrays cut into blocks of any shape, some of them missing.
    #[test]
    fn arrays_in_chunks_of_any_shape_come_back(
        shape in prop::collection::vec(1_usize..7, 1..4),
        cuts in prop::collection::vec(1_usize..8, 3),
        fortran: bool,
        missing in 0_usize..4,
    ) {
        let chunks = &cuts[..shape.len()];
        let folder = tempfile::tempdir().unwrap();
        let mut description = json!({ "zarr_format": 2, "compressor": null, "filters": null });
        description["shape"] = json!(shape);
        description["chunks"] = json!(chunks);
        description["order"] = json!(if fortran { "F" } else { "C" });
        description["dtype"] = json!(">i2");
        description["fill_value"] = json!(-1);
        std::fs::write(folder.path().join(".zarray"), description.to_string()).unwrap();
        let grid: Vec<usize> = shape.iter().zip(chunks).map(|(size, chunk)| size.div_ceil(*chunk)).collect();
        let number = |sizes: &[usize], index: &[usize]| sizes.iter().zip(index).fold(0, |all, (size, at)| all * size + at);
        let index_of = |sizes: &[usize], mut at: usize| {
            let mut index = vec![0; sizes.len()];
            for axis in (0..sizes.len()).rev() {
                index[axis] = at % sizes[axis];
                at /= sizes[axis];
            }
            index
        };
        let is_missing = |chunk: &[usize]| { let at = number(&grid, chunk); at > 0 && at % 4 < missing };
        for at in 0..grid.iter().product() {
            let chunk = index_of(&grid, at);
            if is_missing(&chunk) {
                continue;
            }
            let mut bytes = Vec::new();
            for place in 0..chunks.iter().product() {
                let inner = if fortran {
                    let reversed: Vec<usize> = chunks.iter().rev().copied().collect();
                    index_of(&reversed, place).into_iter().rev().collect()
                } else {
                    index_of(chunks, place)
                };
                let index: Vec<usize> = (0..shape.len()).map(|axis| chunk[axis] * chunks[axis] + inner[axis]).collect();
                let inside = index.iter().zip(&shape).all(|(at, size)| at < size);
                bytes.extend((if inside { number(&shape, &index) as i16 } else { -9 }).to_be_bytes());
            }
            let key: Vec<String> = chunk.iter().map(usize::to_string).collect();
            std::fs::write(folder.path().join(key.join(".")), bytes).unwrap();
        }
        let store = Store::open(folder.path()).unwrap();
        let found = ArrayInfo::open(&store, "").unwrap().read().unwrap();
        let expected: Vec<f32> = (0..shape.iter().product()).map(|at| {
            let index = index_of(&shape, at);
            let chunk: Vec<usize> = index.iter().zip(chunks).map(|(at, size)| at / size).collect();
            if is_missing(&chunk) { -1.0 } else { at as f32 }
        }).collect();
        prop_assert_eq!(found.values, expected);
    }
}
