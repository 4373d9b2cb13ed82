//! Where the engine and the tests find LibTorch. The front is not linked with it, and stays so.

use kinestream_torch_link::{Targets, link};

fn main() {
    link(Targets::Program("kinestream-engine"));
}
