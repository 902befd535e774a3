//! Lists of a cluster, page by page, so that memory does not grow with the number of objects.

use kube::Client;
use kube::api::ListParams;
use kube::core::{ListMeta, Request};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Objects of one page of a list.
const PAGE: u32 = 500;
/// How often a list that expires before its end is begun again.
const RESTARTS_MAX: usize = 5;

/// A list that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refuses, or is not there.
    #[error(transparent)]
    Api(Box<kube::Error>),
    /// It is no list.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The list cannot be asked for.
    #[error(transparent)]
    Request(#[from] kube::core::request::Error),
}

/// A page of a list, its objects left as they came: one that cannot be read keeps nobody from reading the others.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// Visits all objects of a list; none where the kind is not installed. One may come twice when the list had to be begun
/// again.
///
/// # Errors
/// When the list cannot be read to its end.
pub async fn each(
    client: &Client,
    list: &Request,
    mut visit: impl FnMut(&RawValue),
) -> Result<(), Error> {
    let mut parameters = ListParams::default().limit(PAGE);
    let mut restarts = 0;
    loop {
        let page = match client.request_text(list.list(&parameters)?).await {
            Ok(page) => page,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            // The rest of the list has expired.
            Err(kube::Error::Api(status)) if status.code == 410 && restarts < RESTARTS_MAX => {
                restarts += 1;
                parameters.continue_token = None;
                continue;
            }
            Err(error) => return Err(Error::Api(Box::new(error))),
        };
        let page: Page<'_> = serde_json::from_str(&page)?;
        page.items.into_iter().for_each(&mut visit);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(()),
        }
    }
}
