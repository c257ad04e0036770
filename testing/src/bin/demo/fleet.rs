//! The three clusters of the samples, for the time of the demo or to stay.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use flagship_testing::{
    Cluster, ClusterOptions, Error, NamedClusters, Result, loopback_for, start_clusters, target_folder,
    with_loopback_addresses,
};
use futures::future::{join_all, try_join_all};

/// The clusters with the addresses that the samples give them, in the order in which they join.
pub(crate) const CLUSTERS: [(&str, Ipv4Addr); 3] = [
    ("newyork", Ipv4Addr::new(172, 18, 100, 100)),
    ("sheffield", Ipv4Addr::new(172, 18, 100, 200)),
    ("gotham", Ipv4Addr::new(172, 18, 100, 150)),
];

/// Starts the three side by side, with nodes that kwok plays, and Flagship's controller in each. Those to be kept go on
/// running; the others end with this process, however that ends.
pub(crate) async fn start(keep: bool) -> Result<[Cluster; 3]> {
    if keep {
        return start_kept().await;
    }
    let options =
        CLUSTERS.map(|(name, address)| ClusterOptions::new(name).with_pods().on(loopback_for(address)));
    let clusters = start_clusters(options).await?;
    try_join_all(clusters.iter().map(async |cluster| {
        cluster.start_controller().await?;
        cluster.publish_address().await
    }))
    .await?;
    Ok(clusters)
}

async fn start_kept() -> Result<[Cluster; 3]> {
    let demo = NamedClusters::of_demo()?;
    // All are awaited, also after a failure: who is broken off half-way cannot clear up after itself.
    let created = join_all(CLUSTERS.map(|(name, address)| demo.create(name, address))).await;
    let clusters = created
        .into_iter()
        .map(|created| created.map(|named| named.cluster));
    let clusters: Vec<Cluster> = clusters.collect::<Result<_>>()?;
    for (name, _) in CLUSTERS {
        demo.merge_into(name, &kubeconfig())?;
    }
    clusters
        .try_into()
        .map_err(|clusters: Vec<Cluster>| Error::Create {
            name: "all".into(),
            reason: format!("{} of {} were created", clusters.len(), CLUSTERS.len()),
        })
}

/// Ends and removes what a demo left running; tells which clusters there were.
pub(crate) fn remove() -> Result<Vec<&'static str>> {
    let demo = NamedClusters::of_demo()?;
    let mut removed = Vec::new();
    for (name, _) in CLUSTERS {
        if demo.remove(name)? {
            removed.push(name);
        }
    }
    Ok(removed)
}

/// Looks whether other clusters that go on running have the names and so the addresses of the demo's.
pub(crate) fn check_free() -> Result<()> {
    let others = [
        (
            NamedClusters::of_demo()?,
            "a demo left it running; remove it by `make demo REMOVE=1`",
        ),
        (
            NamedClusters::of_user()?,
            "there is one already; remove it by `clusters --name NAME --force-clean`",
        ),
    ];
    for (clusters, reason) in others {
        if let Some((name, _)) = CLUSTERS
            .iter()
            .find(|(name, _)| clusters.folder_of(name).exists())
        {
            return Err(Error::Create {
                name: (*name).to_owned(),
                reason: reason.replace("NAME", name),
            });
        }
    }
    Ok(())
}

/// The file with the contexts of the clusters that stay.
pub(crate) fn kubeconfig() -> PathBuf {
    target_folder().join("demo.kubeconfig")
}

/// The shipped sample of that name, with the addresses of local clusters.
pub(crate) fn sample(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .with_file_name("manifests/samples")
        .join(format!("{name}.yaml"));
    let yaml = fs::read_to_string(&path).map_err(|source| Error::File {
        operation: "read",
        path: path.clone(),
        source,
    })?;
    with_loopback_addresses(name, &yaml)
}
