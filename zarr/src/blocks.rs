//! Blocks of arrays in C order, cut out of each other and with their axes exchanged.

/// Copies `block` of `block_shape` into `target` of `shape`, its first element to `origin`; what reaches beyond the target
/// is left out. `element` bytes are one number.
pub(super) fn copy_block(
    target: &mut [u8],
    shape: &[usize],
    block: &[u8],
    (block_shape, origin): (&[usize], &[usize]),
    element: usize,
) {
    let extent = |axis: usize| block_shape[axis].min(shape[axis].saturating_sub(origin[axis]));
    let Some(last) = shape.len().checked_sub(1) else {
        return;
    };
    let run = extent(last) * element;
    if run == 0 || (0..last).any(|axis| extent(axis) == 0) {
        return;
    }
    let mut index = vec![0; last];
    loop {
        let (mut from, mut to) = (0, 0);
        for axis in 0..last {
            from = from * block_shape[axis] + index[axis];
            to = to * shape[axis] + origin[axis] + index[axis];
        }
        let from = from * block_shape[last] * element;
        let to = (to * shape[last] + origin[last]) * element;
        target[to..to + run].copy_from_slice(&block[from..from + run]);
        if !advance(&mut index, extent) {
            return;
        }
    }
}

/// Counts `index` on in C order, below `extent` in every axis; false behind the last one.
fn advance(index: &mut [usize], extent: impl Fn(usize) -> usize) -> bool {
    for axis in (0..index.len()).rev() {
        index[axis] += 1;
        if index[axis] < extent(axis) {
            return true;
        }
        index[axis] = 0;
    }
    false
}

/// Exchanges axes back: `stored` has axis `order[i]` of the array as its axis i. `shape` is that of the array.
pub(super) fn undo_transpose(
    stored: &[u8],
    shape: &[usize],
    order: &[usize],
    element: usize,
) -> Vec<u8> {
    // How far apart in `stored` neighbors along the axes of the array are.
    let mut strides = vec![0; shape.len()];
    let mut stride = element;
    for axis in order.iter().rev() {
        strides[*axis] = stride;
        stride *= shape[*axis];
    }
    let mut output = Vec::with_capacity(stored.len());
    let mut index = vec![0; shape.len()];
    if stored.is_empty() {
        return output;
    }
    loop {
        let at: usize = index
            .iter()
            .zip(&strides)
            .map(|(index, stride)| index * stride)
            .sum();
        output.extend_from_slice(&stored[at..at + element]);
        if !advance(&mut index, |axis| shape[axis]) {
            return output;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_go_where_they_belong_and_no_further() {
        let mut target = [0; 3 * 4 * 2];
        let block: Vec<u8> = (1..=8).collect();
        copy_block(&mut target, &[3, 4], &block, (&[2, 2], &[2, 3]), 2);
        assert_eq!(target[..22], [0; 22]);
        assert_eq!(target[22..], [1, 2]);
        copy_block(&mut target, &[3, 4], &block, (&[2, 2], &[0, 1]), 2);
        assert_eq!(
            target[..16],
            [0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8, 0, 0]
        );
        copy_block(&mut target, &[3, 4], &block, (&[2, 2], &[3, 0]), 2);
        let mut row = [0; 3];
        copy_block(&mut row, &[3], &[1, 2], (&[2], &[2]), 1);
        assert_eq!(row, [0, 0, 1]);
    }

    #[test]
    fn axes_are_exchanged_back() {
        // [[1, 2, 3], [4, 5, 6]], its columns first.
        assert_eq!(
            undo_transpose(&[1, 4, 2, 5, 3, 6], &[2, 3], &[1, 0], 1),
            [1, 2, 3, 4, 5, 6]
        );
        // Axis 0 of what is stored is axis 2 of the array, and so on.
        let shape = [2, 3, 4];
        let array: Vec<u8> = (0..24).collect();
        let mut stored = Vec::new();
        for third in 0..4 {
            for first in 0..2 {
                for second in 0..3 {
                    stored.push(array[(first * 3 + second) * 4 + third]);
                }
            }
        }
        assert_eq!(undo_transpose(&stored, &shape, &[2, 0, 1], 1), array);
    }
}
