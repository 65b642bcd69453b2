//! The filters, made from the table.

use super::table::{Args, Line, Phase, TABLE};
use crate::error::Error;
use crate::sys::check;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use sigma_abi::layer::Layer;
use std::collections::BTreeMap;
use std::io;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;
type Built<T> = Result<T, seccompiler::BackendError>;

/// Installs the list and the clone3 filter in the jail, for all that it clones.
///
/// # Errors
/// [`Layer::Seccomp`].
pub(crate) fn install_once() -> Result<(), Error> {
    let fail = |attempted| Error::layer(Layer::Seccomp, attempted);
    let list = list().map_err(io::Error::other).map_err(fail("making the list of system calls"))?;
    let clone3 = clone3().map_err(io::Error::other).map_err(fail("making the clone3 filter"))?;
    install(&list).map_err(fail("installing the list of system calls"))?;
    install(&clone3).map_err(fail("installing the clone3 filter"))
}

/// Binds this process, and all it becomes, to `program` for good.
pub(crate) fn install(program: &BpfProgram) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // A seccompiler instruction is laid out as the kernel's sock_filter; the call copies the program.
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `program` points to `len` instructions that outlive the call.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) }).map(drop)
}

/// Filter 1: every line of the table is allowed, all else is EPERM.
pub(super) fn list() -> Built<BpfProgram> {
    let mut rules = Rules::new();
    for line in TABLE {
        match &line.args {
            // No rule at all means: whatever the arguments are.
            Args::Any | Args::OwnPid => drop(rules.insert(line.number, Vec::new())),
            Args::When(_) => rules.entry(line.number).or_default().extend(alternatives(line)?),
        }
    }
    compile(rules, refused(libc::EPERM), SeccompAction::Allow)
}

/// Filter 2: clone3 does not exist.
fn clone3() -> Built<BpfProgram> {
    compile([(libc::SYS_clone3, Vec::new())].into(), SeccompAction::Allow, refused(libc::ENOSYS))
}

/// Stands for the pid of a launcher in a filter that is made ahead: greater than any, and no argument of the table.
const STAND_IN: i32 = i32::MAX - 1;

/// Filter 3, made once for all launchers of a jail: they differ in their pid alone.
pub(crate) struct Last {
    program: BpfProgram,
    /// The instructions that compare with the pid.
    compares: Vec<usize>,
}

impl Last {
    /// # Errors
    /// [`Layer::Seccomp`].
    pub(crate) fn new() -> Result<Self, Error> {
        let program = last(STAND_IN)
            .map_err(io::Error::other)
            .map_err(Error::layer(Layer::Seccomp, "making the last filter"))?;
        let compares = program.iter().enumerate().filter(|(_, instruction)| instruction.k == STAND_IN as u32);
        Ok(Self { compares: compares.map(|(at, _)| at).collect(), program })
    }

    /// The filter of the launcher `pid`.
    pub(crate) fn of(&mut self, pid: i32) -> &BpfProgram {
        for at in &self.compares {
            self.program[*at].k = pid.unsigned_abs();
        }
        &self.program
    }
}

/// Filter 3: what the launcher `pid` gives up once it is ready is EPERM. All else is left to the other two.
pub(super) fn last(pid: i32) -> Built<BpfProgram> {
    let mut rules = Rules::new();
    for line in TABLE {
        let refuse = match (line.phase, &line.args) {
            (Phase::Launch, Args::Any | Args::OwnPid) => Vec::new(),
            (Phase::Launch, Args::When(_)) => alternatives(line)?,
            (Phase::Proc, Args::OwnPid) => {
                let (width, value) = (SeccompCmpArgLen::Dword, u64::from(pid.unsigned_abs()));
                let other = SeccompCondition::new(0, width, SeccompCmpOp::Ne, value)?;
                vec![SeccompRule::new(vec![other])?]
            }
            (Phase::Proc, Args::Any | Args::When(_)) => continue,
        };
        rules.insert(line.number, refuse);
    }
    compile(rules, SeccompAction::Allow, refused(libc::EPERM))
}

fn alternatives(line: &Line) -> Built<Vec<SeccompRule>> {
    let Args::When(alternatives) = &line.args else { return Ok(Vec::new()) };
    let rule = |conditions: &&[super::table::Arg]| {
        let condition = |arg: &super::table::Arg| {
            SeccompCondition::new(arg.index, arg.width.clone(), arg.op.clone(), arg.value)
        };
        SeccompRule::new(conditions.iter().map(condition).collect::<Built<_>>()?)
    };
    alternatives.iter().map(rule).collect()
}

fn refused(errno: i32) -> SeccompAction {
    SeccompAction::Errno(errno.unsigned_abs())
}

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Built<BpfProgram> {
    SeccompFilter::new(rules, otherwise, matched, TargetArch::x86_64)?.try_into()
}
