//! `generate`: writes the generated files of the repository, or tells which are stale.

use super::{Done, FOUND, Failure, OK};
use anyhow::Context as _;
use clap::Args;
use std::path::PathBuf;
use webhooks::REGISTRY;

/// Write the generated files of the repository (`make generate`).
#[derive(Args)]
pub struct Arguments {
    /// Root of the repository.
    #[arg(default_value = ".")]
    root: PathBuf,
    /// Change nothing; exit 1 when a file is stale.
    #[arg(long)]
    check: bool,
}

pub fn run(arguments: &Arguments) -> Done {
    let files =
        crate::generate::files(REGISTRY).map_err(|error| Failure::message(super::BROKEN, error))?;
    let mut code = OK;
    for (name, text) in files {
        let path = arguments.root.join(&name);
        if std::fs::read_to_string(&path).is_ok_and(|found| found == text) {
            continue;
        }
        if arguments.check {
            println!("{name} is stale: run `make generate`");
            code = FOUND;
            continue;
        }
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, text));
        written
            .with_context(|| path.display().to_string())
            .map_err(Failure::broken)?;
        println!("{name}");
    }
    Ok(code)
}
