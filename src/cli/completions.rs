//! `huiliu completions`: what a shell needs to complete our arguments.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::{Cli, Context, Exit};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell: `huiliu completions bash > /etc/bash_completion.d/huiliu`
    pub shell: Shell,
}

/// Prints the script on stdout; there is no JSON form of it.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "huiliu", &mut script);
    context.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_a_script_that_knows_the_verbs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let mut script = Vec::new();
            generate(shell, &mut Cli::command(), "huiliu", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("quarantine"), "{shell}");
        }
    }
}
