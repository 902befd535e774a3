//! The functions of Kubernetes' CEL, one file a library.

pub mod cidr;
pub mod conversions;
mod floats;
pub mod format;
pub mod ip;
pub mod lists;
pub mod named_format;
pub mod optionals;
pub mod quantity;
pub mod quoted;
pub mod regex;
pub mod semver;
pub mod sets;
pub(in crate::cel) mod show;
pub mod strings;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod testing;
pub mod time;
pub mod url;

use super::library::Library;

/// Declares all of them.
pub fn declare(library: &mut Library) {
    conversions::declare(library);
    format::declare(library);
    ip::declare(library);
    lists::declare(library);
    named_format::declare(library);
    optionals::declare(library);
    quantity::declare(library);
    regex::declare(library);
    semver::declare(library);
    sets::declare(library);
    strings::declare(library);
    time::declare(library);
    url::declare(library);
}
