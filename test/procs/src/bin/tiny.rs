//! The least program: it links no SDK, and ends. Outside SigmaOS it is the floor of starting.

fn main() {}
