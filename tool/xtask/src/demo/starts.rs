//! How the procs' starts went, step by step, as a table (thesis, Figure 4.2).

use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write;

/// A table of the steps over all procs of a listing: how long each took at the median and at most.
///
/// The listing is that of `sigma ps --all --json`: an array of procs, each with `steps`, an array of
/// `{"name": …, "ms": …}` in their order.
pub(super) fn table(listing: &str) -> Result<String> {
    let procs: Vec<Value> = serde_json::from_str(listing).context("reading the list of procs")?;
    let mut steps: Vec<(&str, Vec<f64>)> = Vec::new();
    for step in procs.iter().filter_map(|proc| proc["steps"].as_array()).flatten() {
        let (Some(name), Some(ms)) = (step["name"].as_str(), step["ms"].as_f64()) else { continue };
        match steps.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => times.push(ms),
            None => steps.push((name, vec![ms])),
        }
    }

    let mut table = format!("The start of a proc, over {} procs:\n", procs.len());
    writeln!(table, "  {:<24}{:>12}{:>12}", "step", "median, ms", "most, ms")?;
    for (name, mut times) in steps {
        times.sort_by(f64::total_cmp);
        let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
        writeln!(table, "  {name:<24}{median:>12.3}{most:>12.3}")?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_in_their_order_with_median_and_most() {
        let proc = |first: f64, second: f64| {
            format!(
                r#"{{"pid": "1", "steps": [{{"name": "queued", "ms": {first}}}, {{"name": "exec", "ms": {second}}}]}}"#
            )
        };
        let listing = format!("[{}, {}, {}]", proc(1.0, 9.0), proc(3.0, 7.0), proc(2.0, 8.0));
        let table = table(&listing).unwrap();
        let rows: Vec<Vec<&str>> =
            table.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows, [["queued", "2.000", "3.000"], ["exec", "8.000", "9.000"]]);
    }

    #[test]
    fn a_listing_without_steps_is_an_empty_table() {
        assert_eq!(table("[]").unwrap().lines().count(), 2);
        assert_eq!(table(r#"[{"pid": "1"}]"#).unwrap().lines().count(), 2);
        assert!(table("not json").is_err());
    }
}
