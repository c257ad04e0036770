//! A link that can be cut without a word to either side.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;

/// Forwards connections to one address. While cut, whatever is open is dead for good and says nothing, and whatever
/// connects is accepted and not served, as behind a load balancer whose backend is gone.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    cut: watch::Sender<bool>,
    resets: watch::Sender<()>,
    count: Arc<AtomicUsize>,
}

impl Proxy {
    pub(super) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = watch::channel(false);
        let (resets, reset) = watch::channel(());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                let (inside, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(forward(inside, target, is_cut.clone(), reset.clone()));
            }
        });
        Self {
            address,
            cut,
            resets,
            count,
        }
    }

    /// How many connections were made through it.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Ends what is open with a reset, as a load balancer does to connections that it has forgotten.
    pub(super) fn reset(&self) {
        self.resets.send_replace(());
    }

    pub(super) fn heal(&self) {
        self.cut.send_replace(false);
    }
}

async fn forward(
    mut inside: TcpStream,
    target: SocketAddr,
    mut is_cut: watch::Receiver<bool>,
    mut reset: watch::Receiver<()>,
) {
    reset.mark_unchanged();
    if !*is_cut.borrow_and_update() {
        let mut outside = TcpStream::connect(target).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => return,
            _ = is_cut.changed() => {}
            _ = reset.changed() => {
                for stream in [&inside, &outside] {
                    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
                return;
            }
        }
        // The sockets stay open, so that neither side hears of the end.
        std::future::pending().await
    }
    std::future::pending().await
}
