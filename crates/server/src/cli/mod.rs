//! Command line: what an operator can ask for. `tertulia` alone serves.
//!
//! Results go to standard output, everything else to standard error, one line each. Exit codes: 0 done, 1
//! it did not work, 2 wrong usage, 69 something it needs is not there, 78 wrong settings, no data where they
//! say, or data of a newer version.

mod ask;
mod keys;
mod tokens;

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tertulia_store::OpenError;

use crate::config::{self, Config, Flags};
pub(crate) use ask::Failure;

/// A realtime chat server.
#[derive(Parser)]
#[command(name = "tertulia", version, args_conflicts_with_subcommands = true, after_help = MORE)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Serve; also what happens without a command.
    #[command(after_help = MORE)]
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
        /// File to write; it must not be there yet
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Say which version this is.
    Version,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say which file and variables the settings come from, and name every mistake.
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
    /// Start although the write-ahead log is damaged, without what it has lost; rooms get new epochs
    /// [default: do not start]
    #[arg(long)]
    accept_loss: bool,
}

/// Settings that the command line can set. They are read with all the others, so that every mistake is
/// told at once.
#[derive(Args)]
struct Settings {
    #[command(flatten)]
    place: Place,
    /// Address and port for clients and applications; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address and port of the internal listener, for metrics and health; it has no sign-in
    /// [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
    /// What an acknowledgement survives: a power cut, a killed process, or nothing [default: fsync]
    #[arg(long, value_name = "fsync|os|memory")]
    durability: Option<String>,
    /// Sign in as anyone from this machine, for development [default: only if --listen is a loopback
    /// address]
    #[arg(long)]
    dev: bool,
}

/// Where the data and the settings are.
#[derive(Args)]
struct Place {
    /// Directory of the data [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// File of the settings [default: tertulia.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const MORE: &str = "\
Every setting can also stand in a variable or in the file: `tertulia config docs` explains them.
Exit codes: 0 done, 1 it did not work, 2 wrong usage, 69 the data is served already, 78 wrong settings or no data where they say.";

impl Settings {
    fn load(self) -> Result<Config, Failure> {
        load(&self.flags())
    }

    fn flags(self) -> Flags {
        let given = [
            ("--listen", "server.listen", self.listen),
            ("--admin-listen", "server.admin_listen", self.admin_listen),
            ("--durability", "store.durability", self.durability),
            ("--dev", "server.dev", self.dev.then(|| "true".to_owned())),
        ];
        self.place.flags(given)
    }
}

impl Place {
    fn load(self) -> Result<Config, Failure> {
        load(&self.flags([]))
    }

    /// The directory of a database that is there already. One that was mistyped is not made.
    fn load_with_data(self) -> Result<PathBuf, Failure> {
        let data = self.load()?.server.data;
        if holds(&data, "tertulia.db") { Ok(data) } else { Err(Failure::no_data(&data)) }
    }

    fn flags(
        self,
        given: impl IntoIterator<Item = (&'static str, &'static str, Option<String>)>,
    ) -> Flags {
        let data = ("--data", "server.data", self.data);
        let set = std::iter::once(data)
            .chain(given)
            .filter_map(|(flag, setting, value)| Some((flag, setting, value?)))
            .collect();
        Flags { config: self.config, set }
    }
}

fn load(flags: &Flags) -> Result<Config, Failure> {
    Ok(Config::load(flags, std::env::vars_os())?)
}

/// Whether `dir` has a file of that name, or one cannot tell.
fn holds(dir: &Path, name: &str) -> bool {
    dir.join(name).try_exists().unwrap_or(true)
}

/// Does what the command line asks for.
pub fn run() -> ExitCode {
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
                let sources = Config::check(&settings.flags(), std::env::vars_os())?;
                ask::say(&format!("{sources}the settings are in order\n"))
            }
            ConfigCommand::Print(settings) => ask::say(&settings.load()?.print()),
            ConfigCommand::Docs => ask::say(&config::docs()),
        }
    }
}

fn backup(place: Place, file: &Path) -> Result<(), Failure> {
    let data = place.load_with_data()?;
    let mut err = std::io::stderr();
    let live = err.is_terminal();
    let mut pages = 0;
    let copied = tertulia_store::backup(&data, file, |done, all| {
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
        Err(OpenError::File { path, source }) if path == file => {
            let (path, taken) = (path.display(), source.kind() == ErrorKind::AlreadyExists);
            Err(Failure::new(match taken {
                true => {
                    format!("{path} is there already; choose another name, nothing is overwritten")
                }
                false => {
                    format!("{path}: {source}; choose a place for the copy that can be written")
                }
            }))
        }
        Err(error) => Err(error.into()),
    }
}
