//! All certificates expire while the members run. What two processes have proven to each other goes on, and followers
//! have proven nothing to each other: so the leader goes on, and cannot be replaced until there are new ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flagship_testing::{Networked, Presence, Site, TestResult, can_build_networks};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::NETWORK;
use crate::group::Group;

const NAMESPACE: &str = "expiring";
/// A group is formed within this time on a busy machine.
const VALID_FOR: Duration = Duration::from_secs(15);

/// Longer than the group's lease.
const A_MOMENT: Duration = Duration::from_secs(4);

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes certificates of all sites that end after this time.
    async fn issue(&self, sites: &[Site], valid_for: Duration) -> TestResult {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
        for site in sites {
            let mut params = CertificateParams::new(vec![site.name().to_owned()])?;
            params.not_after = date_time_ymd(1970, 1, 1) + since_epoch + valid_for;
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.0)?;
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "peer"},
                "stringData": {
                    "tls.crt": certificate.pem(), "tls.key": key.serialize_pem(), "ca.crt": self.0.pem(),
                },
            });
            site.apply_in(NAMESPACE, &secret.to_string()).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn members_whose_certificates_all_expire_go_on_and_replace_no_leader_until_they_are_renewed()
-> TestResult {
    if !can_build_networks() {
        return Ok(());
    }
    let Networked { sites, network } = &*NETWORK.take().await?;
    let [newyork, sheffield, gotham] = sites;
    let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}");
    for site in sites {
        site.apply(&namespace).await?;
    }
    let authority = Authority::new();
    let expire_at = Instant::now() + VALID_FOR;
    authority.issue(sites, VALID_FOR).await?;
    let field = "tls: {secretName: peer}";
    let group = Group::form_with(NAMESPACE, &[newyork, sheffield, gotham], field).await?;
    assert!(Instant::now() < expire_at, "the group was formed too late");
    for site in sites {
        let message = site
            .wait_for_condition(NAMESPACE, "Degraded", "True", "CertificateEnding")
            .await?;
        assert!(message.contains("renew it"), "{message}");
    }
    sleep_until(expire_at + A_MOMENT).await;
    group.recorder.mark("all have expired");
    assert_eq!(group.wait_until_led_by(newyork).await?, group.term);

    group.recorder.mark("newyork is cut off");
    network.cut_off(newyork).await?;
    group.wait_until_idle(newyork).await?;
    for site in [sheffield, gotham] {
        site.wait_for_condition(NAMESPACE, "QuorumReached", "False", "NotReached")
            .await?;
        site.wait_for_event(NAMESPACE, "CertificateRefused", "the certificate has expired")
            .await?;
    }
    group.recorder.mark("healed");
    network.heal().await?;
    group.wait_until_led_by(newyork).await?;

    // Another process has nothing proven to anybody.
    group
        .recorder
        .mark("newyork's controller is killed and starts again");
    newyork.controller.kill().await?;
    newyork.controller.start()?;
    newyork
        .wait_for_event(NAMESPACE, "CertificateRefused", "the certificate has expired")
        .await?;
    for site in sites {
        site.wait_for_condition(NAMESPACE, "QuorumReached", "False", "NotReached")
            .await?;
        group.wait_until_idle(site).await?;
    }
    group.recorder.mark("renewed");
    authority.issue(sites, Duration::from_secs(3_600)).await?;
    group.wait_until_led_by(newyork).await?;

    let history = group.dissolve().await?;
    assert_eq!(history.overlaps(Presence::Possible), [], "{history}");
    Ok(())
}
