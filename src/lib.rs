//! Admission and conversion webhooks for clusters that run Cozystack: everything that touches the world.
//!
//! ```text
//! API server --TLS--> server --bytes--> review (envelope: uid, operation, raw object)
//!                                         |
//!                                     dispatch --Request--> webhooks::<folder>   pure, sync
//!                                         |                     ^ Cluster (read-only snapshot)
//! API server <-- 200 review <-- review <-- Verdicts merged      |
//!            <-- 400 unreadable body                        cluster (watches | YAML files)
//!            <-- 503 + Retry-After, 504, 500: the failure policy decides
//!
//! cluster --changes--> companions --parent--> webhooks::<folder>   the same pure functions
//! API server <--server-side apply-- companions                     on the replica that holds the Lease
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod audit;
pub mod cases;
pub mod certs;
pub mod charts;
pub mod cli;
pub mod cluster;
pub mod companions;
pub mod crds;
pub mod dispatch;
pub mod events;
pub mod generate;
pub mod manifest;
pub mod migrate;
pub mod offline;
pub mod policies;
pub mod review;
pub mod server;
pub mod settings;
