//! What the machine was doing meanwhile: a figure from a busy machine means something else.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::available_parallelism;

use flagship_testing::{Error, Result};
use rustix::param::clock_ticks_per_second;
use serde::Serialize;

/// The machine and how busy it was.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    /// The share of the cores' time that any process used, this measurement's own control planes among them.
    busy_percent: f64,
    /// Processes that ran or wanted to, over the last minute of the measurement.
    load_average_1min: f64,
}

/// Counts from the moment that it is made.
pub(crate) struct Load {
    before: CpuTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CpuTime {
    busy_ticks: u64,
    all_ticks: u64,
}

impl Load {
    pub(crate) fn begin() -> Result<Self> {
        Ok(Self { before: cpu_time()? })
    }

    pub(crate) fn end(&self) -> Result<Machine> {
        let now = cpu_time()?;
        let busy = ratio(
            now.busy_ticks - self.before.busy_ticks,
            now.all_ticks - self.before.all_ticks,
        );
        let load = read("/proc/loadavg", |text| {
            text.split_whitespace().next()?.parse().ok()
        })?;
        Ok(Machine {
            cores: available_parallelism().map_or(1, std::num::NonZero::get),
            busy_percent: (busy * 1e3).round() / 10.0,
            load_average_1min: load,
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cores,
            busy_percent,
            load_average_1min,
        } = self;
        write!(
            f,
            "{cores} cores, {busy_percent:.0} % busy, load average {load_average_1min:.1}"
        )
    }
}

fn cpu_time() -> Result<CpuTime> {
    read("/proc/stat", parse_cpu_time)
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal; what guests use is counted in the first two.
fn parse_cpu_time(stat: &str) -> Option<CpuTime> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let idle: u64 = ticks.get(3..5)?.iter().sum();
    let all: u64 = ticks.iter().sum();
    Some(CpuTime {
        busy_ticks: all - idle,
        all_ticks: all,
    })
}

/// What a process has used so far, and holds now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
}

pub(crate) fn usage(pid: i32) -> Result<Usage> {
    Ok(Usage {
        cpu_seconds: ratio(
            read(&format!("/proc/{pid}/stat"), parse_ticks)?,
            clock_ticks_per_second(),
        ),
        resident_bytes: read(&format!("/proc/{pid}/status"), parse_resident)?,
    })
}

/// The 14th and 15th field, user and system time. The second is the program's name and may hold anything.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// How many TCP connections a process has to or from these ports.
pub(crate) fn connections(pid: i32, ports: &[SocketAddr]) -> Result<usize> {
    let folder = format!("/proc/{pid}/fd");
    let error = |source| Error::File {
        operation: "read",
        path: Path::new(&folder).to_owned(),
        source,
    };
    let mut sockets = HashSet::new();
    for file in fs::read_dir(&folder).map_err(error)? {
        // One that was closed meanwhile is none.
        let target = fs::read_link(file.map_err(error)?.path()).unwrap_or_default();
        sockets.extend(target.to_str().and_then(parse_socket));
    }
    read(&format!("/proc/{pid}/net/tcp"), |text| {
        let rows = text
            .lines()
            .skip(1)
            .map(parse_connection)
            .collect::<Option<Vec<_>>>()?;
        let is_of_ports = |[local, remote]: &[SocketAddr; 2]| ports.contains(local) || ports.contains(remote);
        let ours = rows
            .iter()
            .flatten()
            .filter(|(ends, inode)| is_of_ports(ends) && sockets.contains(inode));
        Some(ours.count())
    })
}

fn parse_socket(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A row of `/proc/net/tcp`: both ends and the socket's inode, if the connection is established.
#[allow(clippy::type_complexity, reason = "two ends and a number")]
fn parse_connection(row: &str) -> Option<Option<([SocketAddr; 2], u64)>> {
    let fields: Vec<_> = row.split_whitespace().collect();
    let end = |text: &str| {
        let (address, port) = text.split_once(':')?;
        let address = u32::from_str_radix(address, 16).ok()?.swap_bytes();
        Some(SocketAddr::from((
            Ipv4Addr::from(address),
            u16::from_str_radix(port, 16).ok()?,
        )))
    };
    let ends = [end(fields.get(1)?)?, end(fields.get(2)?)?];
    let is_established = *fields.get(3)? == "01";
    let inode = fields.get(9)?.parse().ok()?;
    Some(is_established.then_some((ends, inode)))
}

fn read<T>(path: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    let error = |source| Error::File {
        operation: "read",
        path: Path::new(path).to_owned(),
        source,
    };
    let text = fs::read_to_string(path).map_err(error)?;
    parse(&text).ok_or_else(|| error(std::io::Error::other("it is not as Linux writes it")))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "ticks of a measurement fit into 52 bits"
)]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn idle_and_waiting_for_disks_is_not_busy() {
        let stat = "cpu  100 10 50 800 40 5 5 10 99 99\ncpu0 1 1 1 1\n";
        let time = parse_cpu_time(stat).unwrap();
        assert_eq!(
            time,
            CpuTime {
                busy_ticks: 180,
                all_ticks: 1020
            }
        );
        assert_eq!(parse_cpu_time("intr 1 2"), None);
    }

    #[test]
    fn connections_are_told_from_ports_that_listen() {
        let row = "  0: 0100007F:2706 0200007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 20 0 0 10 -1";
        let ends = [
            SocketAddr::from(([127, 0, 0, 1], 9990)),
            SocketAddr::from(([127, 0, 0, 2], 50_000)),
        ];
        assert_eq!(parse_connection(row), Some(Some((ends, 4242))));
        assert_eq!(parse_connection(&row.replacen(" 01 ", " 0A ", 1)), Some(None));
        assert_eq!(parse_connection("nonsense"), None);
        assert_eq!(
            (parse_socket("socket:[4242]"), parse_socket("/dev/null")),
            (Some(4242), None)
        );
    }

    #[test]
    fn a_process_time_is_read_whatever_the_program_is_called() {
        let stat = "42 (a) (b) S 1 42 42 0 -1 4194304 900 0 0 0 17 5 0 0 20 0 4 0 1234 1 1";
        assert_eq!(parse_ticks(stat), Some(22));
        assert_eq!(
            parse_resident("VmPeak:\t9 kB\nVmRSS:\t  2048 kB\n"),
            Some(2_097_152)
        );
    }
}
