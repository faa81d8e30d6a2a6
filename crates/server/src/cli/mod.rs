//! Command line: what an operator can ask for. `tertulia` alone serves.
//!
//! Results go to standard output, everything else to standard error, one line each. Exit codes: 0 done, 1
//! it did not work, 2 wrong usage, 69 something it needs is not there, 78 wrong settings or data of a
//! newer version.

mod ask;
mod keys;
mod tokens;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tertulia_store::OpenError;

use crate::config::{self, Config, Flags};
pub(crate) use ask::Failure;

/// A realtime chat server.
#[derive(Parser)]
#[command(name = "tertulia", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Serve; also what happens without a command.
    Serve(Serve),
    /// Give out tokens.
    Token {
        #[command(subcommand)]
        command: tokens::Command,
    },
    /// Look after the keys of applications.
    Key {
        #[command(subcommand)]
        command: keys::Command,
    },
    /// Look at the settings.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Copy the data to a file, also while a server runs.
    Backup {
        /// A file that is not there yet.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Say which version this is.
    Version,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Name every mistake in the settings.
    Check(Settings),
    /// Show the settings in force, secrets hidden.
    Print(Settings),
    /// Explain every setting, in Markdown.
    Docs,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Go on without what a damaged write-ahead log has lost; clients are told
    #[arg(long)]
    accept_loss: bool,
}

/// Settings that the command line can set. They are read with all the others, so that every mistake is
/// told at once.
#[derive(Args)]
struct Settings {
    #[command(flatten)]
    place: Place,
    /// Where clients come in [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where metrics and administration are [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
    /// What an acknowledgement survives [default: fsync]
    #[arg(long, value_name = "fsync|os|memory")]
    durability: Option<String>,
    /// Sign-in without an application, for development
    #[arg(long)]
    dev: bool,
}

/// Where the data and the settings are.
#[derive(Args)]
struct Place {
    /// Where the data is kept; made if it is not there [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// The settings [default: tertulia.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Settings {
    fn load(self) -> Result<Config, Failure> {
        let given = [
            ("--listen", "server.listen", self.listen),
            ("--admin-listen", "server.admin_listen", self.admin_listen),
            ("--durability", "store.durability", self.durability),
            ("--dev", "server.dev", self.dev.then(|| "true".to_owned())),
        ];
        self.place.load_with(given)
    }
}

impl Place {
    fn load(self) -> Result<Config, Failure> {
        self.load_with([])
    }

    fn load_with(
        self,
        given: impl IntoIterator<Item = (&'static str, &'static str, Option<String>)>,
    ) -> Result<Config, Failure> {
        let data = ("--data", "server.data", self.data);
        let set = std::iter::once(data)
            .chain(given)
            .filter_map(|(flag, setting, value)| Some((flag, setting, value?)))
            .collect();
        let flags = Flags { config: self.config, set };
        Ok(Config::load(&flags, std::env::vars_os())?)
    }
}

/// Does what the command line asks for.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(wanted) => return serve(wanted),
        Command::Token { command } => command.run(),
        Command::Key { command } => command.run(),
        Command::Config { command } => command.run(),
        Command::Backup { file, place } => backup(place, &file),
        Command::Version => ask::say(&format!("tertulia {}\n", env!("CARGO_PKG_VERSION"))),
    };
    done.map_or_else(Failure::told, |()| ExitCode::SUCCESS)
}

fn serve(Serve { settings, accept_loss }: Serve) -> ExitCode {
    match settings.load() {
        Ok(config) => crate::serve::serve(config, accept_loss),
        Err(failure) => failure.told(),
    }
}

impl ConfigCommand {
    fn run(self) -> Result<(), Failure> {
        match self {
            ConfigCommand::Check(settings) => {
                settings.load()?;
                ask::say("the settings are in order\n")
            }
            ConfigCommand::Print(settings) => ask::say(&settings.load()?.print()),
            ConfigCommand::Docs => ask::say(&config::docs()),
        }
    }
}

fn backup(place: Place, file: &Path) -> Result<(), Failure> {
    let config = place.load()?;
    let mut err = std::io::stderr();
    let live = err.is_terminal();
    let mut pages = 0;
    let copied = tertulia_store::backup(&config.server.data, file, |done, all| {
        pages = all;
        if live {
            let _ = write!(err, "\r{done} of {all} pages");
        }
    });
    if live {
        let _ = writeln!(err);
    }
    match copied {
        Ok(()) => {
            let _ = writeln!(err, "{}: {pages} pages copied", file.display());
            Ok(())
        }
        Err(OpenError::File { path, source })
            if source.kind() == std::io::ErrorKind::AlreadyExists =>
        {
            let why = "is there already; choose another name, nothing is overwritten";
            Err(Failure::new(format!("{} {why}", path.display())))
        }
        Err(error) => Err(error.into()),
    }
}
