//! `tertulia-proof`: tries a server, shows how far it is, and says what it found.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use tertulia_proof::chance::fresh_seed;
use tertulia_proof::page;
use tertulia_proof::report::Trial;
use tertulia_proof::stage::{Scale, Stage};
use tertulia_proof::trial;

/// Try a server: kill it, take its power and its disk away, lie to it, and look for what it promised.
#[derive(Parser)]
#[command(name = "tertulia-proof", version)]
struct Cli {
    /// The program to try
    #[arg(long, value_name = "PATH", default_value = "target/release/tertulia")]
    server: PathBuf,
    /// How long: seconds, minutes or hours in all
    #[arg(long, value_enum, default_value = "short")]
    scale: Size,
    /// Only these trials, like T01,T02
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Repeat a run; another one each time if it is not given
    #[arg(long, value_name = "SEED")]
    replay: Option<u64>,
    /// A fault to plant; the server has to be built with the feature `planted-faults`
    #[arg(long, value_name = "FAULT")]
    plant: Option<String>,
    /// The program built with the feature `planted-faults`, for the trial I20
    #[arg(long, value_name = "PATH", default_value = "target/planted/debug/tertulia")]
    planted: PathBuf,
    /// Where to write what was found, for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to write what was found, as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// What others found, to stand in the same report
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
    /// Show the trials and end
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Size {
    Short,
    Soak,
    Long,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        trial::ALL.iter().for_each(|trial| println!("{} {}", trial.id, trial.title));
        return ExitCode::SUCCESS;
    }
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("tertulia-proof: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the trials. False if a promise was broken.
fn run(cli: &Cli) -> Result<bool, String> {
    let server = cli.server.canonicalize().map_err(|error| {
        format!("{}: {error}; build it with `cargo build --release`", cli.server.display())
    })?;
    let chosen = chosen(&cli.only)?;
    let seed = cli.replay.unwrap_or_else(fresh_seed);
    let scale = match cli.scale {
        Size::Short => Scale::Short,
        Size::Soak => Scale::Soak,
        Size::Long => Scale::Long,
    };
    let mut all = json!({
        "seed": seed, "scale": scale.name(), "date": page::today(), "machine": page::machine(),
        "trials": added(&cli.add)?,
    });
    let mut wrong = 0;
    for trial in chosen {
        let shown = Box::new(|what: &str| eprintln!("{}: {what}", trial.id));
        let fault = cli.plant.clone();
        let (server, planted) = (server.clone(), cli.planted.canonicalize().ok());
        let stage = Stage { server, scale, seed, fault, planted, shown };
        eprintln!("{}: {}", trial.id, trial.title);
        let report = trial.report(&stage);
        report.wrongs().iter().for_each(|wrong| eprintln!("{}: WRONG: {wrong}", trial.id));
        println!("{} seed={seed}", report.line(trial));
        wrong += report.wrongs_in_all();
        all["trials"].as_array_mut().expect("a list").push(report.json(trial, &stage));
        // After each of them: whoever breaks off keeps what there is.
        write(cli, &all)?;
    }
    let trials = all["trials"].as_array().map_or(0, Vec::len);
    println!("trials={trials} wrong={wrong} seed={seed}");
    Ok(wrong == 0)
}

/// What others found, to stand in the same report.
fn added(files: &[PathBuf]) -> Result<Vec<Value>, String> {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    };
    files.iter().map(read).collect()
}

fn write(cli: &Cli, all: &Value) -> Result<(), String> {
    let put = |path: &Option<PathBuf>, text: &dyn Fn() -> String| {
        let Some(path) = path else { return Ok(()) };
        std::fs::write(path, text()).map_err(|error| format!("{}: {error}", path.display()))
    };
    put(&cli.json, &|| format!("{all:#}\n"))?;
    put(&cli.html, &|| page::draw(all))
}

fn chosen(only: &[String]) -> Result<Vec<&'static Trial>, String> {
    let known = |id: &String| trial::ALL.iter().any(|trial| trial.id == id);
    if let Some(unknown) = only.iter().find(|id| !known(id)) {
        return Err(format!("there is no trial {unknown}; --list shows them"));
    }
    let wanted = |trial: &&Trial| only.is_empty() || only.iter().any(|id| id == trial.id);
    Ok(trial::ALL.iter().filter(wanted).collect())
}
