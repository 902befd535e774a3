//! What the tests share: a client, a control plane, the service.

pub mod http;
pub mod plane;
pub mod service;
