//! Nodes played by kwok.

use std::path::PathBuf;

use crate::control_plane::{Part, Site};
use crate::process::CommandLine;

impl Site<'_> {
    pub(crate) fn kwok(&self, program: PathBuf) -> CommandLine {
        self.command(
            Part::Kwok,
            program,
            vec![
                format!("--kubeconfig={}", self.administrator_kubeconfig().display()),
                "--manage-all-nodes=true".into(),
            ],
        )
    }
}
