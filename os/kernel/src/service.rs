//! What the kernel itself serves: the proc API and dialling on every door, the operator's calls, and the trees `/bin`, `/proc`
//! and `/machine`.

pub(crate) mod admin;
pub(crate) mod bin;
pub(crate) mod link;
pub(crate) mod machine;
pub(crate) mod proc;
pub(crate) mod procs;
pub(crate) mod tree;
