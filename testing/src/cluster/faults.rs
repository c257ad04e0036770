//! What a test breaks and mends in a cluster.

use std::sync::Arc;

use rustix::process::Signal;

use super::{Cluster, lock};
use crate::control_plane::Part;
use crate::error::{Error, Result};
use crate::kwok;
use crate::process::{DEATH_TIMEOUT, Process};
use crate::proxy::Answers;

impl Cluster {
    /// Kills a part at once (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// If the part is not there or does not run.
    pub async fn kill(&self, part: Part) -> Result<()> {
        self.part(part)?.kill().await
    }

    /// Stops a part in its tracks (SIGSTOP): its connections stay open and nothing answers.
    ///
    /// # Errors
    /// If the part is not there or does not run.
    pub fn freeze(&self, part: Part) -> Result<()> {
        self.part(part)?.freeze()
    }

    /// Lets a frozen part go on (SIGCONT).
    ///
    /// # Errors
    /// If the part is not there or does not run.
    pub fn thaw(&self, part: Part) -> Result<()> {
        self.part(part)?.signal(Signal::CONT)
    }

    /// Starts a part again with the same data and ports, killing it first if it runs, and waits until the API server
    /// is ready if it and etcd both run.
    ///
    /// # Errors
    /// If the part is not there or does not become ready.
    pub async fn restart(&self, part: Part) -> Result<()> {
        let process = self.part(part)?;
        if process.is_running()? {
            process.kill().await?;
        }
        if part == Part::Kwok {
            kwok::release_nodes(self).await?;
        }
        process.start()?;
        self.record_processes()?;
        match self.part(Part::Etcd)?.is_running()? && self.part(Part::ApiServer)?.is_running()? {
            true => self.wait_for_api_server().await,
            false => Ok(()),
        }
    }

    /// Spoils what Flagship's controllers hear from the API server, or lets them hear it as it is again. Nobody else notices.
    ///
    /// # Errors
    /// If the cluster was started without a proxy: see [`ClusterOptions::behind_proxy`](super::ClusterOptions::behind_proxy).
    pub fn set_answers(&self, answers: Answers) -> Result<()> {
        let proxy = self.proxy.as_ref().ok_or_else(|| Error::NoSuchPart {
            cluster: self.name.clone(),
            part: "proxy",
        })?;
        proxy.set_answers(answers);
        Ok(())
    }

    pub(crate) fn answer_promptly(&self) {
        if let Some(proxy) = &self.proxy {
            proxy.set_answers(Answers::Prompt);
        }
    }

    /// Loses the whole cluster at one blow: every process, Flagship's controllers too, gets SIGKILL before the first is
    /// waited for.
    ///
    /// # Errors
    /// If a process cannot be killed.
    pub async fn lose(&self) -> Result<()> {
        let killed = self.each(|process| process.signal(Signal::KILL))?;
        let is_controller =
            |process: &Arc<Process>| self.controllers().iter().any(|one| Arc::ptr_eq(one, process));
        lock(&self.lost_controllers).extend(killed.iter().filter(|process| is_controller(process)).cloned());
        for process in killed {
            process.wait(DEATH_TIMEOUT).await?;
        }
        Ok(())
    }

    /// Starts what [`Self::lose`] killed, with the same data and ports: the control plane, and once its API server is
    /// ready, the controllers.
    ///
    /// # Errors
    /// If a process does not start or the API server does not become ready.
    pub async fn bring_back(&self) -> Result<()> {
        self.start_parts().await?;
        let lost = std::mem::take(&mut *lock(&self.lost_controllers));
        for controller in lost {
            if !controller.is_running()? {
                controller.start()?;
            }
        }
        self.record_processes()
    }

    /// Freezes every process of the cluster, as a hypervisor or an overloaded machine does.
    ///
    /// # Errors
    /// If a process cannot be frozen.
    pub fn freeze_all(&self) -> Result<()> {
        self.each(Process::freeze).map(|_| ())
    }

    /// Lets every process of the cluster go on.
    ///
    /// # Errors
    /// If a process cannot be thawed.
    pub fn thaw_all(&self) -> Result<()> {
        self.each(|process| process.signal(Signal::CONT)).map(|_| ())
    }

    /// Does this to whatever runs, and tells what that was. Some end by themselves when others do: that is no error.
    fn each(&self, act: impl Fn(&Process) -> Result<()>) -> Result<Vec<Arc<Process>>> {
        let mut signalled = Vec::new();
        for process in self.processes() {
            match act(&process) {
                Ok(()) => signalled.push(process),
                Err(Error::NotRunning { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(signalled)
    }
}
