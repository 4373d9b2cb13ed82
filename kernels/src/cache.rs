//! A small table of what was computed for which inputs; the least recently used makes room.

/// Values of equal length under keys of equal length.
#[derive(Debug)]
pub(crate) struct Cache<K> {
    entries: Vec<Entry<K>>,
    capacity: usize,
    length: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry<K> {
    key: Vec<K>,
    value: Vec<f32>,
    used: u64,
    valid: bool,
}

impl<K: Copy + PartialEq> Cache<K> {
    /// A table of up to `capacity` values of `length` numbers.
    pub(crate) fn new(capacity: usize, length: usize) -> Self {
        Self {
            entries: Vec::with_capacity(capacity),
            capacity,
            length,
            clock: 0,
        }
    }

    /// Index of the value for `key`, computed by `compute` into zeros where it is not there.
    /// Allocates until the table is full.
    pub(crate) fn find_or(&mut self, key: &[K], compute: impl FnOnce(&mut [f32])) -> usize {
        self.clock += 1;
        let known = |entry: &Entry<K>| entry.valid && entry.key == key;
        if let Some(index) = self.entries.iter().position(known) {
            self.entries[index].used = self.clock;
            return index;
        }
        let index = if self.entries.len() < self.capacity {
            self.entries.push(Entry {
                key: key.to_vec(),
                value: vec![0.0; self.length],
                used: 0,
                valid: false,
            });
            self.entries.len() - 1
        } else {
            let oldest = self.entries.iter().enumerate();
            oldest
                .min_by_key(|(_, entry)| entry.used)
                .map_or(0, |(index, _)| index)
        };
        let entry = &mut self.entries[index];
        entry.valid = false;
        entry.key.clear();
        entry.key.extend_from_slice(key);
        entry.value.fill(0.0);
        compute(&mut entry.value);
        entry.valid = true;
        entry.used = self.clock;
        index
    }

    /// A value.
    pub(crate) fn value(&self, index: usize) -> &[f32] {
        &self.entries[index].value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut cache = Cache::new(2, 1);
        let mut computed = 0;
        let mut find = |key: i64| {
            let index = cache.find_or(&[key], |value| {
                computed += 1;
                value[0] = key as f32;
            });
            assert_eq!(cache.value(index), [key as f32]);
        };
        for key in [1, 2, 1, 3, 1, 2] {
            find(key);
        }
        // 1, 2, then 3 in place of 2, then 2 in place of 3.
        assert_eq!(computed, 4);
    }
}
