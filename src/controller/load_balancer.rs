//! The address of the controller's own LoadBalancer Service, for members whose spec names none.

use std::sync::OnceLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The Service of `manifests/install.yaml`.
pub(crate) const SERVICE: &str = "multi-cluster";
/// A load balancer gets its address within seconds to minutes, and keeps it for years.
const PAUSE: Duration = Duration::from_secs(5);
/// Before the first answer, for which members wait.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Asks for the Service's address, from the first time that somebody wants to know.
#[derive(Default)]
pub(super) struct LoadBalancer {
    found: OnceLock<watch::Receiver<Found>>,
}

/// What is known of the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It has been asked for just now.
    Asked,
    /// Nothing yet, or no more; why, and what to do.
    Nothing(String),
    /// An IP address or a host name, without a port.
    Host(String),
}

impl LoadBalancer {
    /// The address of the Service in `namespace`, the controller's own.
    pub(super) fn found(&self, client: &Client, namespace: &str, exit: &CancellationToken) -> Found {
        let found = self.found.get_or_init(|| {
            let services = Api::namespaced(client.clone(), namespace);
            let (sender, receiver) = watch::channel(Found::Asked);
            let asking = ask(services, namespace.to_owned(), sender);
            let exit = exit.clone();
            tokio::spawn(async move { exit.run_until_cancelled(asking).await });
            receiver
        });
        found.borrow().clone()
    }

    /// Waits for the first answer; for ever where nobody has asked.
    pub(super) async fn answered(&self) {
        if let Some(found) = self.found.get() {
            let answered = found
                .clone()
                .wait_for(|found| *found != Found::Asked)
                .await
                .is_ok();
            if answered {
                return;
            }
        }
        // The process ends.
        std::future::pending().await
    }
}

async fn ask(services: Api<Service>, namespace: String, found: watch::Sender<Found>) {
    while !found.is_closed() {
        let title = format!("Service {namespace}/{SERVICE}");
        let next = match services.get_opt(SERVICE).await {
            Ok(Some(service)) => match host(&service) {
                Some(host) => Some(Found::Host(host)),
                None => Some(Found::Nothing(format!(
                    "{title} has no address yet: it is of type LoadBalancer, and needs somebody who gives it one"
                ))),
            },
            Ok(None) => Some(Found::Nothing(format!(
                "there is no {title} to take the address of"
            ))),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Some(Found::Nothing(format!(
                "{title} may not be read: {}",
                status.message
            ))),
            // An API server that does not answer takes no address away.
            Err(error) => {
                tracing::debug!(%error, "cannot read {title}");
                None
            }
        };
        if let Some(next) = next {
            found.send_if_modified(|found| {
                let is_news = *found != next;
                *found = next;
                is_news
            });
        }
        let is_known = *found.borrow() != Found::Asked;
        sleep(if is_known { PAUSE } else { FIRST_PAUSE }).await;
    }
}

/// Clouds give an IP address or a host name, seldom both.
fn host(service: &Service) -> Option<String> {
    let ingress = service
        .status
        .as_ref()?
        .load_balancer
        .as_ref()?
        .ingress
        .as_ref()?
        .first()?;
    ingress.ip.clone().or_else(|| ingress.hostname.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use serde_json::json;
    use tokio::time::timeout;

    #[tokio::test]
    async fn the_first_answer_is_waited_for_whatever_it_is() {
        let brief = Duration::from_millis(50);
        let load_balancer = LoadBalancer::default();
        assert!(timeout(brief, load_balancer.answered()).await.is_err());
        let (sender, receiver) = watch::channel(Found::Asked);
        load_balancer.found.set(receiver).unwrap();
        assert!(timeout(brief, load_balancer.answered()).await.is_err());
        let answering = async {
            sender.send_replace(Found::Nothing("there is none".to_owned()));
        };
        tokio::join!(load_balancer.answered(), answering);
        load_balancer.answered().await;
    }

    #[test]
    fn a_service_has_an_ip_address_or_a_host_name_or_none_yet() {
        let service = |ingress: serde_json::Value| -> Service {
            serde_json::from_value(json!({"status": {"loadBalancer": {"ingress": ingress}}})).unwrap()
        };
        assert_eq!(
            host(&service(json!([{"ip": "10.0.0.7"}]))).as_deref(),
            Some("10.0.0.7")
        );
        let named = service(json!([{"hostname": "lb.example.com"}]));
        assert_eq!(host(&named).as_deref(), Some("lb.example.com"));
        assert_eq!(host(&service(json!([]))), None);
        assert_eq!(host(&Service::default()), None);
    }
}
