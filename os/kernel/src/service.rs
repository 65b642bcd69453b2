//! What the kernel itself serves: the proc API and dialling on every door, the operator's calls, and `/bin`.

pub(crate) mod admin;
pub(crate) mod bin;
pub(crate) mod link;
pub(crate) mod proc;
