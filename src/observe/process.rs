//! What the process costs, read when it is asked for.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::time::{ClockId, clock_gettime};

/// Resident memory and CPU time under the names that every Prometheus client gives them.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let seconds = ConstCounter::new(cpu_seconds());
        seconds.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "CPU time that the process has used, in seconds",
            None,
            ConstCounter::<f64>::TYPE,
        )?)?;
        // Where there is no /proc, there is no such metric, rather than a wrong one.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(bytes) = resident_bytes(&status) {
            ConstGauge::new(bytes).encode(encoder.encode_descriptor(
                "process_resident_memory_bytes",
                "Resident memory of the process, in bytes",
                None,
                ConstGauge::<i64>::TYPE,
            )?)?;
        }
        Ok(())
    }
}

fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    std::time::Duration::new(
        used.tv_sec.unsigned_abs(),
        u32::try_from(used.tv_nsec).unwrap_or(0),
    )
    .as_secs_f64()
}

/// Reads the line `VmRSS:  1234 kB` of /proc/self/status.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(
            resident_bytes("VmPeak:\t  9 kB\nVmRSS:\t  2048 kB\nThreads:\t3\n"),
            Some(2_097_152)
        );
        assert_eq!(resident_bytes("VmRSS:\t  many kB\n"), None);
        assert_eq!(resident_bytes(""), None);
    }
}
