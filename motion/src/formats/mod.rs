//! Files that motion comes from and goes to.
