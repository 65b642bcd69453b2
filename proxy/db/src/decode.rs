//! Values in the binary forms of the servers' protocols, as text for people and programs: pure.

pub(crate) mod calendar;
pub(crate) mod mysql;
pub(crate) mod postgres;
