//! Where this package's tests find LibTorch.

use kinestream_torch_link::{Targets, link};

fn main() {
    link(Targets::All);
}
