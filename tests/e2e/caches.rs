//! The caches follow the cluster: kinds that come later, a watch that is cut, history that has expired.

use crate::support::http::plain;
use crate::{Cluster, definitions, eventually, repository};
use std::io::copy;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Passes bytes on until it is cut.
struct Proxy {
    address: SocketAddr,
    is_open: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_open = Arc::new(AtomicBool::new(true));
        let streams = Arc::new(Mutex::new(Vec::<TcpStream>::new()));
        let (open, all) = (Arc::clone(&is_open), Arc::clone(&streams));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !open.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(target) else {
                    continue;
                };
                for (mut from, mut to) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server.try_clone().unwrap(), client.try_clone().unwrap()),
                ] {
                    std::thread::spawn(move || {
                        let _ = copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                all.lock().unwrap().extend([client, server]);
            }
        });
        Proxy {
            address,
            is_open,
            streams,
        }
    }

    fn cut(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn restore(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }
}

pub fn follow(assets: &Path) {
    let mut cluster = Cluster::bare(assets);
    let proxy = Proxy::to(cluster.plane.address);
    let kubeconfig = cluster
        .plane
        .kubeconfig_by_way_of(proxy.address)
        .display()
        .to_string();

    // Started before any CRD exists: ready, and each absent kind is named.
    let service = cluster.setup.start_ready(&["--kubeconfig", &kubeconfig]);
    let readyz = |cluster: &Cluster| {
        plain(cluster.setup.probes, "GET", "/readyz?verbose", "")
            .unwrap()
            .1
    };
    let text = readyz(&cluster);
    const KINDS: [&str; 5] = [
        "applicationdefinitions",
        "cozystackresourcedefinitions",
        "helmreleases",
        "packages",
        "packagesources",
    ];
    for kind in KINDS {
        assert!(
            text.contains(&format!("[+] cache/{kind}: absent")),
            "{text}"
        );
    }

    // CRDs come later: watched within 10 s, without a restart.
    cluster.add_services();
    cluster.without_bridge();
    cluster.install_crds();
    definitions::install_helm_release_crd(&cluster.plane);
    let began = std::time::Instant::now();
    eventually("the new kinds are watched", || {
        let text = readyz(&cluster);
        let mut kinds = KINDS.iter();
        kinds.all(|kind| text.contains(&format!("[+] cache/{kind}: synced")))
    });
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    let id = service.id();
    cluster.add_webhooks();
    cluster.plane.kubectl(&[
        "apply",
        "-f",
        &repository("testcases/manifests").display().to_string(),
    ]);
    let knows = |cluster: &Cluster, count: usize| {
        readyz(cluster).contains(&format!(
            "cache/cozystackresourcedefinitions: synced, {count} objects"
        ))
    };
    eventually("three definitions are known", || knows(&cluster, 3));

    // The watch is cut; what happens meanwhile is known after it.
    proxy.cut();
    let gizmo = std::fs::read_to_string(repository("testcases/manifests/gizmo.yaml")).unwrap();
    let another = |name: &str| {
        let kind = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
        gizmo.replace("gizmo", name).replace("Gizmo", &kind)
    };
    cluster.plane.apply(&another("gadget"));
    cluster.plane.kubectl(&[
        "annotate",
        "cozystackresourcedefinitions",
        "thing",
        "webhook.cozystack.io/allow=cozystack-resource-definition",
    ]);
    cluster
        .plane
        .kubectl(&["delete", "cozystackresourcedefinitions", "thing"]);
    cluster.plane.apply(&another("widget"));
    assert!(knows(&cluster, 3), "the caches could not know yet");
    proxy.restore();
    eventually("the cut is made up for", || knows(&cluster, 4));

    // History expires: the API server starts anew, and its watch cache knows nothing of our resource version.
    proxy.cut();
    cluster.plane.stop_apiserver();
    cluster.plane.start_apiserver();
    for number in 0..5 {
        cluster.plane.apply(&another(&format!("sprocket{number}")));
    }
    proxy.restore();
    eventually("a new list is made", || knows(&cluster, 9));
    // What the caches know decides: a kind that is taken is refused.
    let duplicate = another("gadget").replace("name: gadget\nspec", "name: copy\nspec");
    let (success, _, stderr) = cluster
        .plane
        .kubectl_with(&["apply", "-f", "-"], &duplicate);
    assert!(
        !success && stderr.contains("already defined by CozystackResourceDefinition gadget"),
        "{stderr}"
    );

    // A CRD that goes empties its cache, and nothing waits for it.
    cluster
        .plane
        .kubectl(&["delete", "crd", "helmreleases.helm.toolkit.fluxcd.io"]);
    eventually("the kind is gone", || {
        readyz(&cluster).contains("[+] cache/helmreleases: absent")
    });
    assert_eq!(service.id(), id);
    assert!(cluster.setup.is_ready());
}
