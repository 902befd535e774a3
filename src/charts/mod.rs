//! Charts as they arrive: from the bytes of an archive to what decides on values. Nothing is written to a disk.

pub mod archive;

#[cfg(test)]
mod tests;
