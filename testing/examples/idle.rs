#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]
#[tokio::main]
async fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let secs: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let pods = std::env::args().nth(3).is_some();
    let t = std::time::Instant::now();
    let names = ["a", "b", "c", "d", "e", "f"];
    let cs = futures::future::try_join_all((0..n).map(|i| async move {
        let o = flagship_testing::ClusterOptions::new(names[i]);
        flagship_testing::start_clusters([if pods { o.with_pods() } else { o }]).await
    }))
    .await
    .unwrap();
    println!("{n} ready after {:?}", t.elapsed());
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    let cpu = || -> Vec<(String, f64, u64)> {
        let mut v = vec![];
        for e in std::fs::read_dir("/proc").unwrap().flatten() {
            let p = e.path();
            let Ok(stat) = std::fs::read_to_string(p.join("stat")) else {
                continue;
            };
            let (a, b) = stat.rsplit_once(") ").unwrap();
            let f: Vec<_> = b.split(' ').collect();
            if f[1] != std::process::id().to_string() {
                continue;
            }
            let name = a.split_once('(').unwrap().1.to_owned();
            let status = std::fs::read_to_string(p.join("status")).unwrap();
            let rss = status
                .lines()
                .find(|l| l.starts_with("VmRSS"))
                .map(|l| l.split_whitespace().nth(1).unwrap().parse().unwrap())
                .unwrap_or(0);
            v.push((
                name,
                (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0,
                rss,
            ));
        }
        v
    };
    let before = cpu();
    tokio::time::sleep(std::time::Duration::from_secs(secs)).await;
    for (b, a) in before.iter().zip(cpu()) {
        println!(
            "{:20} start {:.2} s  idle {:.2} %  rss {} MB",
            a.0,
            b.1,
            (a.1 - b.1) / secs as f64 * 100.0,
            a.2 / 1024
        );
    }
    drop(cs);
}
