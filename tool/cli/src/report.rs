//! How results and errors reach people and programs.

use anstream::{eprintln, println};
use serde::Serialize;
use sigmaos::{Code, Error, code_name};
use std::process::ExitCode;

/// Exit codes, as `sigma --help` lists them.
const FAILED: u8 = 1;
const NO_KERNEL: u8 = 3;
const NOT_FOUND: u8 = 4;

/// Prints the whole chain of an error, and the exit code that it means.
pub(crate) fn failed(error: &anyhow::Error, json: bool) -> ExitCode {
    let code = error.chain().find_map(|cause| cause.downcast_ref::<Error>()).map(|error| error.code);
    if json {
        let object = serde_json::json!({
            "error": { "code": code.map(code_name), "message": format!("{error:#}") }
        });
        println!("{object}");
    } else {
        eprintln!("sigma: {error:#}");
    }
    ExitCode::from(match code {
        Some(Code::Unreachable) if format!("{error:#}").contains("no kernel runs") => NO_KERNEL,
        Some(Code::NotFound) => NOT_FOUND,
        _ => FAILED,
    })
}

/// Prints data for programs.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// A table for people, as wide as its contents.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(headings.iter().map(ToString::to_string));
    for row in rows {
        table.add_row(row);
    }
    println!("{}", table.trim_fmt());
}

/// Bytes as people say them.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}
