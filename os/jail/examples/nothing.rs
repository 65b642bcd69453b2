//! The smallest proc: for measuring what starting one costs.

fn main() {}
