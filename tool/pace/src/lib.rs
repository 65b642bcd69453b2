//! Calls that are made when they are due, whether or not those before them have been answered: an exact clock, and the interface
//! of `pacer`, a proc that makes such calls from inside a realm.

mod clock;

pub use clock::Clock;

/// The generated service and its messages.
#[allow(clippy::all)]
pub mod proto {
    // The generated code and its users want the same names.
    #![allow(unreachable_pub)]
    sigmaos::include_proto!("pacer");
}
