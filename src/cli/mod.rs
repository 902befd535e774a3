//! The command line: one file a subcommand.

mod audit;
mod certs;
mod cluster;
mod convert;
mod crds;
mod generate;
mod manifests;
mod migrate;
mod output;
mod policy;
mod review;
mod serve;
mod test;
mod values;

use clap::{Parser, Subcommand, ValueEnum};
use std::io::IsTerminal as _;
use std::process::ExitCode;

/// Everything is fine.
pub const OK: u8 = 0;
/// Violations, cases that differ, objects that cannot be converted.
pub const FOUND: u8 = 1;
/// Wrong usage, unreadable input.
pub const USAGE: u8 = 2;
/// I/O, cluster, internal.
pub const BROKEN: u8 = 3;

/// A command that could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// What happened.
    pub error: anyhow::Error,
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Failure {
        Failure {
            code: USAGE,
            error: error.into(),
        }
    }

    fn broken(error: impl Into<anyhow::Error>) -> Failure {
        Failure {
            code: BROKEN,
            error: error.into(),
        }
    }

    fn message(code: u8, text: impl Into<String>) -> Failure {
        Failure {
            code,
            error: anyhow::Error::msg(text.into()),
        }
    }
}

impl From<crate::manifest::Error> for Failure {
    fn from(error: crate::manifest::Error) -> Self {
        Failure::usage(error)
    }
}

/// What a command ends with: an exit code, or why it did not get that far.
type Done = Result<u8, Failure>;

/// Admission and conversion webhooks for clusters that run Cozystack.
///
/// `serve` answers the API server. The other commands do the same work on files, with no cluster:
/// what `review` refuses, the cluster would refuse, in the same words.
#[derive(Parser)]
#[command(
    name = "cozystack-webhook",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        cozystack-webhook review definitions/                       what would the webhooks say?\n  \
        cozystack-webhook review --old before.yaml after.yaml       what of this update?\n  \
        cozystack-webhook audit                                     what of all that is in the cluster?\n  \
        cozystack-webhook convert legacy.yaml --to ApplicationDefinition\n  \
        cozystack-webhook migrate plan                              what carries a v0.39 cluster over to packages?\n  \
        cozystack-webhook values chart.tgz -f values.yaml           what would Helm say to these values?\n  \
        cozystack-webhook policy explain policy.yaml --object package.yaml   what does each expression give?\n  \
        cozystack-webhook test testcases/                           run case folders, also your own\n  \
        cozystack-webhook crds install --ca-file ca.crt             CRDs into the current cluster\n  \
        cozystack-webhook manifests --ca-file ca.crt | kubectl apply -f -\n  \
        cozystack-webhook certs init                                certificate and its caBundles\n  \
        cozystack-webhook serve --self-signed --objects testcases/manifests\n\n\
        Exit codes: 0 fine; 1 violations, differing cases, unconvertible objects; 2 usage, unreadable input;\n\
        3 I/O, cluster, internal."
)]
pub struct Arguments {
    /// What is logged, to standard error: error, warn, info, debug, trace, or a filter such as `kube=debug,info`.
    #[arg(long, global = true, env = "LOG_LEVEL", value_name = "FILTER")]
    log_level: Option<String>,
    /// How it is logged.
    #[arg(long, global = true, env = "LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Review(review::Arguments),
    Audit(audit::Arguments),
    Convert(convert::Arguments),
    Test(test::Arguments),
    Values(values::Arguments),
    Policy(policy::Arguments),
    Manifests(manifests::Arguments),
    Crds(crds::Arguments),
    Migrate(migrate::Arguments),
    Certs(certs::Arguments),
    #[command(hide = true)]
    Generate(generate::Arguments),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let default_level = if matches!(arguments.command, Command::Serve(_)) {
        "info"
    } else {
        "off"
    };
    let filter = arguments.log_level.as_deref().unwrap_or(default_level);
    if let Err(error) = start_log(filter, arguments.log_format) {
        eprintln!("error: --log-level {filter:?}: {error}");
        return ExitCode::from(USAGE);
    }
    let done = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Review(arguments) => review::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Values(arguments) => values::run(&arguments),
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Manifests(arguments) => manifests::run(&arguments),
        Command::Crds(arguments) => crds::run(&arguments),
        Command::Migrate(arguments) => migrate::run(&arguments),
        Command::Certs(arguments) => certs::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("error: {:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}

fn start_log(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// A runtime for commands that talk to a network.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::broken)
}
