//! What a benchmark prints.

use crate::promise::Promise;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use sigmaos::proto;

/// The result of one benchmark.
#[derive(Clone, Debug)]
pub struct Report {
    bench: &'static str,
    environment: Vec<(&'static str, String)>,
    rows: Vec<(String, f64, &'static str)>,
    promises: Vec<(Promise, f64)>,
}

impl Report {
    pub fn new(bench: &'static str) -> Self {
        let mut report = Self { bench, environment: Vec::new(), rows: Vec::new(), promises: Vec::new() };
        let system = rustix::system::uname();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        report.environment("system", format!("Linux {}", system.release().to_string_lossy()));
        report.environment("cores", cores.to_string());
        report
    }

    /// Says something about where it was measured.
    pub fn environment(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    /// Says how procs are kept apart on the kernel that is measured.
    pub fn kernel(&mut self, kernel: &proto::KernelInfo) {
        let names = |on| {
            let layers = kernel.layers.iter().filter(|layer| layer.on == on);
            layers.map(|layer| layer.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        self.environment("layers on", names(true));
        self.environment("layers off", names(false));
        self.environment("cgroups", kernel.cgroups.clone());
    }

    pub fn row(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.rows.push((name.into(), value, unit));
    }

    /// Rows for p50, p99 and mean of a histogram of nanoseconds.
    pub fn quantiles(&mut self, name: &str, histogram: &Histogram<u64>) {
        self.row(format!("{name} p50"), ms(histogram.value_at_quantile(0.5) as f64), "ms");
        self.row(format!("{name} p99"), ms(histogram.value_at_quantile(0.99) as f64), "ms");
        self.row(format!("{name} mean"), ms(histogram.mean()), "ms");
    }

    /// Rows for p50, p99, mean and standard deviation, in microseconds: of what is quick.
    pub fn micros(&mut self, name: &str, histogram: &Histogram<u64>) {
        let us = |nanoseconds: f64| nanoseconds / 1e3;
        self.row(format!("{name} p50"), us(histogram.value_at_quantile(0.5) as f64), "us");
        self.row(format!("{name} p99"), us(histogram.value_at_quantile(0.99) as f64), "us");
        self.row(format!("{name} mean"), us(histogram.mean()), "us");
        self.row(format!("{name} sd"), us(histogram.stdev()), "us");
    }

    /// A ratio that is no promise.
    pub fn ratio(&mut self, name: impl Into<String>, value: f64) {
        self.row(name, value, "x");
    }

    /// Holds a promise against what was measured.
    pub fn promise(&mut self, promise: Promise, value: f64) {
        self.promises.push((promise, value));
    }

    /// Whether every promise is kept.
    pub fn kept(&self) -> bool {
        self.promises.iter().all(|(promise, value)| promise.bound.holds(*value))
    }

    pub fn print_table(&self) {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_header(["", "VALUE", "UNIT"]);
        for (name, value, unit) in &self.rows {
            table.add_row([name.clone(), format!("{value:.3}"), (*unit).to_owned()]);
        }
        println!("bench {}", self.bench);
        for (name, value) in &self.environment {
            println!("  {name}: {value}");
        }
        println!("{}", table.trim_fmt());
        for (promise, value) in &self.promises {
            let verdict = if promise.bound.holds(*value) { "kept" } else { "NOT KEPT" };
            println!("promise {}: {value:.2} {}, {}: {verdict}", promise.name, promise.unit, promise.bound);
        }
    }

    /// # Errors
    /// Where standard output cannot be written.
    pub fn print_json(&self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string(&self.json())?);
        Ok(())
    }

    fn json(&self) -> Value {
        let environment: serde_json::Map<_, _> =
            self.environment.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|(name, value, unit)| json!({ "name": name, "value": value, "unit": unit }))
            .collect();
        let promises: Vec<_> = self
            .promises
            .iter()
            .map(|(promise, value)| {
                json!({
                    "name": promise.name, "value": value, "unit": promise.unit,
                    "bound": promise.bound.value(), "side": promise.bound.side(),
                    "kept": promise.bound.holds(*value),
                })
            })
            .collect();
        json!({ "bench": self.bench, "environment": environment, "rows": rows, "promises": promises })
    }
}

/// Nanoseconds in milliseconds.
pub fn ms(nanoseconds: f64) -> f64 {
    nanoseconds / 1e6
}

/// Bytes in MiB.
pub fn mib(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

/// A histogram of nanoseconds, to a thousandth.
///
/// # Errors
/// Never: the bounds are constants that it takes.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 600_000_000_000, 3)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promise::Bound;

    #[test]
    fn a_broken_promise_is_told() {
        let promise = Promise { name: "a / b", bound: Bound::AtMost(2.0), unit: "x" };
        let mut report = Report::new("test");
        report.promise(promise, 2.0);
        assert!(report.kept());
        for broken in [2.001, f64::NAN, f64::INFINITY] {
            let mut report = report.clone();
            report.promise(promise, broken);
            assert!(!report.kept(), "{broken}");
            assert_eq!(report.json()["promises"][1]["kept"], false);
        }
    }
}
