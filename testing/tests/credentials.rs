//! Callsigns and certificates in Secrets, on real control planes: they are replaced without an election.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use flagship_testing::{CONTENT, SharedSites, Site, TestResult, Turn};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::time::sleep;

static SITES: SharedSites<3> = SharedSites::new(["newyork", "sheffield", "gotham"]);

/// Longer than a lease and two elections at profile Balanced.
const QUIET: Duration = Duration::from_secs(8);

/// Writes the Secret of a member, as `kubectl apply` does.
async fn write_callsign(turn: &Turn<'_, 3>, site: &Site, data: &str) -> TestResult {
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: group}}\nstringData: {{{data}}}\n");
    Ok(site.apply_in(&turn.namespace, &secret).await?)
}

/// A group with this field in place of the callsign, led by newyork once `write` has written the Secrets that it names.
async fn newyork_leads<'a>(
    turn: &'a Turn<'_, 3>,
    field: &str,
    missing: &str,
    write: impl AsyncFn(&'a Site) -> TestResult,
) -> TestResult {
    let [newyork, sheffield, gotham] = &**turn;
    for (site, rank) in [(newyork, 10), (sheffield, 5), (gotham, 3)] {
        let mut manifest = site.manifest("CALLSIGN", rank).payload(CONTENT);
        manifest = manifest.joins(&[newyork, sheffield, gotham]);
        if rank == 10 {
            manifest = manifest.ready();
        }
        let yaml = manifest.yaml().replace("callsign: CALLSIGN", field);
        site.apply_in(&turn.namespace, &yaml).await?;
    }
    // Nobody founds a group before it can prove which.
    let message = newyork
        .wait_for_condition(&turn.namespace, "Degraded", "True", missing)
        .await?;
    assert!(message.contains("no Secret"), "{message}");
    for site in &**turn {
        write(site).await?;
    }
    newyork.wait_until_leading(&turn.namespace).await?;
    all_follow(turn).await
}

/// The terms in which the members are, and whether newyork leads.
async fn standing(turn: &Turn<'_, 3>) -> kube::Result<(Vec<Option<i64>>, bool)> {
    let mut terms = Vec::new();
    let mut leading = false;
    for site in &**turn {
        let status = site.status(&turn.namespace).await?;
        terms.push(status.term);
        leading |= status.leading && site.name() == "newyork";
    }
    Ok((terms, leading))
}

async fn all_follow(turn: &Turn<'_, 3>) -> TestResult {
    let [newyork, sheffield, gotham] = &**turn;
    for site in [sheffield, gotham] {
        site.wait_for_condition(&turn.namespace, "Ready", "True", "Following")
            .await?;
        site.wait_until_following(&turn.namespace, newyork).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_callsign_is_replaced_on_all_members_one_after_another_without_an_election() -> TestResult {
    let turn = SITES.turn("rotation").await?;
    let field = "callsignFrom: {secretKeyRef: {name: group, key: callsign}}";
    newyork_leads(&turn, field, "CallsignUnusable", async |site| {
        write_callsign(&turn, site, "callsign: federation").await
    })
    .await?;
    let [newyork, sheffield, gotham] = &*turn;
    let before = standing(&turn).await?;
    assert!(before.1, "{before:?}");
    for site in [sheffield, newyork, gotham] {
        write_callsign(&turn, site, "callsign: alliance").await?;
        sleep(QUIET / 4).await;
    }
    sleep(QUIET).await;
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    // Whoever is started anew knows the new one only, and that is enough.
    sheffield.controller.kill().await?;
    sheffield.controller.start()?;
    sleep(QUIET).await;
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    // The next one, with a restart before the others have it: the former one is written down.
    write_callsign(&turn, gotham, "callsign: union, callsign-previous: alliance").await?;
    gotham.controller.kill().await?;
    gotham.controller.start()?;
    sleep(QUIET).await;
    all_follow(&turn).await?;
    for site in [newyork, sheffield] {
        write_callsign(&turn, site, "callsign: union").await?;
    }
    sleep(QUIET).await;
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    // What is wrong with a Secret is told, and the last good callsign stays in use.
    sheffield
        .kubectl(&["delete", "secret", "group", "--namespace", &turn.namespace])
        .await?;
    let message = sheffield
        .wait_for_condition(&turn.namespace, "Degraded", "True", "CallsignUnusable")
        .await?;
    assert!(message.contains("goes by the last callsign"), "{message}");
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    Ok(())
}

/// An authority that issues certificates to members, and whoever writes them into their Secrets.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a fresh certificate as cert-manager does, changed in this way.
    async fn renew(
        &self,
        turn: &Turn<'_, 3>,
        site: &Site,
        change: impl FnOnce(&mut CertificateParams),
    ) -> TestResult {
        let mut params = CertificateParams::new(vec![site.name().to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "peer"},
            "stringData": {
                "tls.crt": certificate.pem(), "tls.key": key.serialize_pem(), "ca.crt": self.0.pem(),
            },
        });
        Ok(site.apply_in(&turn.namespace, &secret.to_string()).await?)
    }
}

#[tokio::test]
async fn certificates_are_asked_for_in_a_group_that_runs_without_an_election() -> TestResult {
    let turn = SITES.turn("certifying").await?;
    let authority = Authority::new();
    let field = "callsignFrom: {secretKeyRef: {name: group, key: callsign}}";
    newyork_leads(&turn, field, "CallsignUnusable", async |site| {
        write_callsign(&turn, site, "callsign: confederation").await
    })
    .await?;
    let [newyork, sheffield, gotham] = &*turn;
    let before = standing(&turn).await?;
    // Without a certificate that it could show, a member takes no part.
    let asked = serde_json::json!({"tls": {"secretName": "peer"}});
    sheffield.patch_spec(&turn.namespace, asked.clone()).await?;
    let message = sheffield
        .wait_for_condition(&turn.namespace, "Degraded", "True", "CertificateUnusable")
        .await?;
    assert!(message.contains("takes no part"), "{message}");
    sheffield
        .wait_until("sheffield hears nobody", flagship_testing::PATIENCE, async |_| {
            Ok::<_, kube::Error>(sheffield.status(&turn.namespace).await?.leader.is_none())
        })
        .await?;
    for site in &*turn {
        authority.renew(&turn, site, |_| {}).await?;
    }
    for site in [newyork, gotham] {
        sleep(QUIET).await;
        site.patch_spec(&turn.namespace, asked.clone()).await?;
    }
    sleep(QUIET).await;
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    Ok(())
}

#[tokio::test]
async fn certificates_are_renewed_and_expire_under_load_without_an_election() -> TestResult {
    let turn = SITES.turn("certificates").await?;
    let authority = Authority::new();
    let field = "callsign: certified\n  tls: {secretName: peer}";
    newyork_leads(&turn, field, "CertificateUnusable", async |site| {
        authority.renew(&turn, site, |_| {}).await
    })
    .await?;
    let [newyork, sheffield, gotham] = &*turn;
    let before = standing(&turn).await?;
    assert!(before.1, "{before:?}");
    for site in [sheffield, newyork, gotham] {
        authority.renew(&turn, site, |_| {}).await?;
    }
    sheffield.controller.kill().await?;
    sheffield.controller.start()?;
    sleep(QUIET).await;
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    // An expired one is told and lasts as long as its channels do.
    authority
        .renew(&turn, gotham, |params| {
            params.not_after = date_time_ymd(2020, 1, 1)
        })
        .await?;
    let message = gotham
        .wait_for_condition(&turn.namespace, "Degraded", "True", "CertificateEnding")
        .await?;
    assert!(message.contains("has expired"), "{message}");
    sleep(QUIET).await;
    all_follow(&turn).await?;
    gotham.controller.kill().await?;
    gotham.controller.start()?;
    let told = gotham.wait_until(
        "gotham is told why nobody talks to it",
        flagship_testing::PATIENCE,
        async |_| {
            let status = gotham.status(&turn.namespace).await?;
            let ready = status
                .conditions
                .iter()
                .find(|condition| condition.type_ == "Ready");
            Ok::<_, kube::Error>(ready.is_some_and(|ready| ready.status != "True"))
        },
    );
    told.await?;
    sleep(QUIET).await;
    assert_eq!(standing(&turn).await?.1, before.1, "newyork leads all the time");
    authority.renew(&turn, gotham, |_| {}).await?;
    all_follow(&turn).await?;
    // Half a Secret changes nothing.
    let half = r#"[{"op": "remove", "path": "/data/ca.crt"}]"#;
    let namespace = turn.namespace.as_str();
    sheffield
        .kubectl(&[
            "patch",
            "secret",
            "peer",
            "--namespace",
            namespace,
            "--type",
            "json",
            "--patch",
            half,
        ])
        .await?;
    let message = sheffield
        .wait_for_condition(namespace, "Degraded", "True", "CertificateUnusable")
        .await?;
    assert!(message.contains("no key ca.crt"), "{message}");
    sleep(QUIET).await;
    all_follow(&turn).await?;
    assert_eq!(standing(&turn).await?, before);
    Ok(())
}
