//! A controller as the next release may be: it speaks this release's protocol and one that is newer. For tests of rolling
//! upgrades; its command line is that of `flagship controller`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use flagship::controller::{self, Options};
use flagship::peer::Versions;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// The controller of the next release.
#[derive(Debug, Parser)]
enum Command {
    /// Run the controller of one cluster
    Controller(Controller),
}

#[derive(Debug, Args)]
struct Controller {
    #[arg(long)]
    kubeconfig: PathBuf,
    #[arg(long)]
    listen_address: IpAddr,
    #[arg(long)]
    metrics_address: SocketAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let Command::Controller(arguments) = Command::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Controller) -> Result<(), Box<dyn std::error::Error>> {
    let kubeconfig = Kubeconfig::read_from(&arguments.kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let Versions { min, max } = Versions::SPOKEN;
    controller::run(Options {
        config,
        namespace: None,
        listen_address: Some(arguments.listen_address),
        metrics_address: arguments.metrics_address,
        keep_payload_on_exit: false,
        instance: std::env::var("HOSTNAME").ok(),
        protocol: Versions { min, max: max + 1 },
    })
    .await?;
    Ok(())
}
