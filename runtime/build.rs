//! Where this package's tests find LibTorch, and which version recordings name.

use kinestream_torch_link::{Targets, link};

fn main() {
    link(Targets::All);
}
