//! The `cozystack-webhook` command.

fn main() -> std::process::ExitCode {
    cozystack_webhook::cli::run()
}
