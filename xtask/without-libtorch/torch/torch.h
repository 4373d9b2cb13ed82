// Found only when LibTorch's own headers are not: .cargo/config.toml puts this folder last. A file
// that is missing is what ends a compilation at once, so the message is one's name.
#include "LibTorch is not set up in this checkout. Run `cargo xtask setup`, then build again"
