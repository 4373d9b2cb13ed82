//! Policies that other programs trained, read without Python.

mod pickle;
mod zip;
