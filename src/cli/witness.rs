//! `flagship witness`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Error;
use crate::api::Address;
use crate::observe::logs;
use crate::peer::Callsign;
use crate::witness::{self, CertificateFiles, Options};

/// Run a witness: a member that votes and never leads, on a machine without Kubernetes
///
/// Two clusters alone cannot tell a dead neighbour from a cut link. With a witness at a third place the group has three
/// voters, and a majority of them decides. A witness needs a port that the controllers reach, and one small file; it may
/// run anywhere but beside one of the two clusters.
///
/// The file is its memory of votes. If it is lost or damaged the witness joins as a new member in the place of the old
/// one, as soon as the leader has not heard the old one for a lease.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  flagship witness --callsign-file /etc/flagship/callsign --service-address witness.example.com:9990 \\
      --join 172.18.100.100:9990 --join 172.18.100.200:9990
  flagship witness --callsign-file callsign --service-address 10.0.0.3:9990 --join 10.0.0.1:9990 --state ./witness")]
pub(super) struct Args {
    /// File whose one line is the group's callsign
    #[arg(long, value_name = "FILE")]
    callsign_file: PathBuf,
    /// File with a certificate to show, in PEM, where the group's MultiClusters have spec.tls; read again as it is renewed
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,
    /// File with the certificate's key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// File with the authorities whose certificates are accepted
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,
    /// How the other members reach this one, host:port
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_address)]
    service_address: Address,
    /// A member to join through, host:port; may be given more than once
    #[arg(long, value_name = "HOST:PORT", required = true, value_parser = parse_address)]
    join: Vec<Address>,
    /// Where to listen for the other members
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:9990")]
    listen: SocketAddr,
    /// The file with the witness's memory; it is made if it is not there
    #[arg(long, value_name = "FILE", default_value = "/var/lib/flagship/witness")]
    state: PathBuf,
    /// The witness's name, for people
    #[arg(long, value_name = "NAME", default_value = "witness")]
    name: String,
    /// Serve /livez, /readyz and /metrics here
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    metrics_address: SocketAddr,
    /// What to log: error, warn, info, debug, trace, or a filter such as info,flagship::election=debug
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// The port of an address that names none: the one that the samples use.
const DEFAULT_PORT: u16 = 9990;

fn parse_address(text: &str) -> Result<Address, String> {
    Address::parse(text, DEFAULT_PORT).map_err(|error| error.to_string())
}

impl Args {
    pub(super) async fn run(self) -> Result<(), Error> {
        logs::init(self.log_level.as_deref())?;
        let path = self.callsign_file;
        let text = std::fs::read_to_string(&path).map_err(|source| Error::ReadCallsign {
            path: path.clone(),
            source,
        })?;
        let callsign = text.trim();
        if callsign.is_empty() {
            return Err(Error::BlankCallsign { path });
        }
        let certificate = match (self.tls_cert, self.tls_key, self.tls_ca) {
            (Some(certificate), Some(key), Some(authorities)) => Some(CertificateFiles {
                certificate,
                key,
                authorities,
            }),
            _ => None,
        };
        let options = Options {
            listen: self.listen,
            service_address: self.service_address.to_string(),
            join: self.join.iter().map(ToString::to_string).collect(),
            callsign: Callsign::new(callsign),
            certificate,
            name: self.name,
            state: self.state,
            metrics_address: self.metrics_address,
        };
        Ok(witness::run(options).await?)
    }
}
