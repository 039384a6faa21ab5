//! Where a figure was measured, and what a process used, from `/proc` (Linux).

use std::{fs, process::Command};

use anyhow::{Context, Result};
use syncline_tests::process::find_on_path;

/// Ticks of `/proc/PID/stat` in a second: Linux gives user space 100 on every architecture that Rust builds for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor, cores, load and versions, in one line.
pub fn describe() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let redis = Command::new(find_on_path(&["redis-server", "valkey-server"])?)
        .arg("--version")
        .output()?;
    let redis = String::from_utf8_lossy(&redis.stdout);
    let redis = redis
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v="))
        .unwrap_or("unknown");
    Ok(format!(
        "machine: {model}, {cores} cores, Linux {}, Redis {redis}, load average {}",
        kernel.trim(),
        load_average()?
    ))
}

/// Of the last 1, 5 and 15 minutes.
pub fn load_average() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load
        .split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" "))
}

/// The highest resident memory that the process had so far, in MiB.
pub fn peak_memory_mib(process: u32) -> Result<f64> {
    status_mib(process, "VmHWM:")
}

/// The resident memory of the process, in MiB.
pub fn memory_mib(process: u32) -> Result<f64> {
    status_mib(process, "VmRSS:")
}

fn status_mib(process: u32, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = kib
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| format!("no {field} in /proc/PID/status"))?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

/// The processor time that the process used so far, user and system, in seconds.
pub fn cpu_seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may hold spaces; the fields after it are counted from 3 (proc(5)).
    let (_, fields) = stat
        .rsplit_once(") ")
        .context("unknown form of /proc/PID/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |number: usize| -> Result<f64> {
        Ok(fields
            .get(number - 3)
            .context("too few fields in /proc/PID/stat")?
            .parse::<f64>()?)
    };
    Ok((ticks(14)? + ticks(15)?) / TICKS_PER_SECOND)
}
