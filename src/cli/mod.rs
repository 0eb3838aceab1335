//! The command line.
//!
//! What a machine may read goes to stdout (as JSON with `--json`), what people read to stderr. Exit codes: 0 done, 1 not
//! done (with the reason and its causes), 2 wrong usage.

mod backup;
mod catalogue;
mod check;
mod codes;
mod compare;
mod keys;
mod kinds;
mod migrate;
mod remote;
pub(crate) mod serve;
mod store;
mod transfer;
mod views;

use std::{error::Error, path::PathBuf, process::ExitCode};

use adal_domain::ids::ShopId;
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::{config::Config, demo, http::extract::Role};

/// What a command ends with. The text of the error, with its causes, goes to stderr.
pub type Done = Result<ExitCode, Box<dyn Error>>;

/// Adal: loyalty points, member cards and trust for shops and marketplaces.
#[derive(Debug, Parser)]
#[command(name = "adal", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// A configuration file; it stands over the defaults, and variables (ADAL__SECTION__KEY) over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print what a machine can read.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; a second signal ends at once.
    Serve,
    /// Serve with a demo shop: customers with a history, live traffic, keys, and commands to try.
    Demo(demo::DemoArgs),
    /// Service keys. They may be made and revoked while the server runs, and then count within 5 s.
    #[command(subcommand)]
    Keys(Keys),
    /// Views: answers across customers, derived from the journal.
    #[command(subcommand)]
    Views(Views),
    /// The catalogue as a folder of files, to be kept in git: on the store where no server runs, or through a server.
    #[command(subcommand)]
    Catalogue(catalogue::CatalogueCommands),
    /// Unique codes of a promo, where no server runs.
    #[command(subcommand)]
    Codes(Codes),
    /// Make the tables of a database (store.kind = "cql"), or bring them up to this version; warns of what is unsafe.
    Migrate {
        /// Print what would be done, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Check the store: its file, every row, and the invariants of every state that ever was. Exit 0 or 1.
    Check {
        /// Also check the indexes of the file; several times slower.
        #[arg(long)]
        full: bool,
    },
    /// Write a backup of the store, also while the server runs. The key ring of cards' codes is a file of its own.
    Backup {
        /// The file to make; it must not exist.
        file: PathBuf,
    },
    /// Write all of a store to one file that any store takes: journal, codes, counts, keys. No server may run.
    Export {
        /// The file to make; it must not exist.
        file: PathBuf,
        /// Go on with a file whose export was cut off.
        #[arg(long)]
        resume: bool,
    },
    /// Take what `adal export` wrote into an empty store; run again, it goes on where it was cut off. No server may run.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Print the configuration in force, with secrets masked.
    Config,
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Make a key; it is printed alone on stdout, once, and cannot be shown again.
    Create {
        /// What it is for.
        #[arg(long)]
        role: Role,
        /// The shop that it acts for; needed for `pos`.
        #[arg(long, value_parser = shop)]
        shop: Option<ShopId>,
        /// What to know it by in lists.
        #[arg(long)]
        label: Option<String>,
    },
    /// List all keys, without the keys themselves.
    List,
    /// Revoke a key.
    Revoke {
        /// Its id, as `keys list` shows it.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum Codes {
    /// Make unique codes; a running server makes them itself: POST /v1/promos/{id}/codes.
    Generate(codes::Generate),
}

#[derive(Debug, Subcommand)]
enum Views {
    /// Make all views, timers and owed effects anew from the journal. The server must not run.
    Rebuild,
}

fn shop(text: &str) -> Result<ShopId, String> {
    ShopId::new(text).map_err(|error| error.to_string())
}

/// Runs the program with the process's arguments.
#[must_use]
pub fn run() -> ExitCode {
    // clap prints help to stdout (0) and what is wrong to stderr (2), and ends.
    let cli = Cli::parse();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("adal: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

impl Cli {
    fn run(self) -> Done {
        let config = Config::load(self.config.as_deref())?;
        match self.command {
            Command::Serve => serve::run(config),
            Command::Demo(args) => demo::run(config, &args),
            Command::Keys(Keys::Create { role, shop, label }) => {
                keys::create(&config, role, shop.as_ref(), label, self.json)
            }
            Command::Keys(Keys::List) => keys::list(&config, self.json),
            Command::Keys(Keys::Revoke { id }) => keys::revoke(&config, &id, self.json),
            Command::Views(Views::Rebuild) => views::rebuild(&config, self.json),
            Command::Catalogue(command) => catalogue::run(&config, &command, self.json),
            Command::Codes(Codes::Generate(args)) => codes::generate(&config, &args, self.json),
            Command::Migrate { dry_run } => migrate::run(&config, dry_run, self.json),
            Command::Check { full } => check::run(&config, full, self.json),
            Command::Export { file, resume } => transfer::export(&config, &file, resume, self.json),
            Command::Import { file } => transfer::import(&config, &file, self.json),
            Command::Backup { file } => backup::run(&config, &file, self.json),
            Command::Config => print_config(&config, self.json),
        }
    }
}

fn print_config(config: &Config, json: bool) -> Done {
    if json {
        print_json(&config.without_secrets())?;
    } else {
        print!("{}", config.masked()?);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json<T: Serialize>(value: &T) -> Result<(), serde_json::Error> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Runs a command that needs no entities: on this thread, without a server.
fn block_on<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for wrong in [
            &["adal"][..],
            &["adal", "keys", "create"],
            &["adal", "keys", "create", "--role", "root"],
            &["adal", "sarve"],
        ] {
            assert_eq!(Cli::try_parse_from(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
        let shop = ["adal", "keys", "create", "--role", "pos", "--shop", "not a shop"];
        assert_eq!(Cli::try_parse_from(shop).unwrap_err().exit_code(), 2);
    }
}
