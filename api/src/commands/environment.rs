//! `syncline-api environment create|set|list|delete`

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use shared::{
    config::Settings,
    ids::EnvironmentId,
    model::token::{EnvironmentLimits, MAX_FETCHES, WEIGHTS},
};

/// Characters of an environment's name at most.
const MAX_NAME_CHARS: usize = 64;

/// What to do with environments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes an environment and prints its id.
    Create {
        /// Unique in the installation: letters, digits, `-`, `_`, `.`.
        #[arg(value_parser = environment_name)]
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Changes how an environment shares the workers with the others; what isn't named stays as it is.
    Set {
        /// Its name or id.
        environment: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Lists environments: id, name, time of creation, weight, most fetches at once (`-`: any number).
    List,
    /// Deletes an environment with everything in it. Its tokens stop working at once, its runs end, what was not delivered
    /// yet is dropped; the workers then remove all of it.
    Delete {
        /// Name or id.
        environment: String,
        /// Don't ask for the name again.
        #[arg(long)]
        yes: bool,
    },
}

/// How an environment shares the workers.
#[derive(Debug, Args)]
pub struct Limits {
    /// Its turns for each turn of an environment of weight 1, while both have work: 1 (the default) to 100.
    #[arg(long, value_parser = weight)]
    weight: Option<u32>,
    /// Its fetches at once, over all accounts and workers: 1 to 10000, or `none` (the default).
    #[arg(long, value_parser = max_fetches)]
    max_fetches: Option<MaxFetches>,
}

/// A value of `--max-fetches`.
#[derive(Debug, Clone, Copy)]
struct MaxFetches(Option<u32>);

impl Limits {
    fn over(self, current: EnvironmentLimits) -> EnvironmentLimits {
        EnvironmentLimits {
            weight: self.weight.unwrap_or(current.weight),
            max_fetches: self.max_fetches.map_or(current.max_fetches, |most| most.0),
        }
    }
}

fn weight(text: &str) -> Result<u32, String> {
    let weight = text.parse().ok().filter(|weight| WEIGHTS.contains(weight));
    weight.ok_or_else(|| format!("write {} to {}", WEIGHTS.start(), WEIGHTS.end()))
}

fn max_fetches(text: &str) -> Result<MaxFetches, String> {
    if text == "none" {
        return Ok(MaxFetches(None));
    }
    let most = text.parse().ok().filter(|most| MAX_FETCHES.contains(most));
    match most {
        Some(most) => Ok(MaxFetches(Some(most))),
        None => Err(format!(
            "write {} to {}, or `none`",
            MAX_FETCHES.start(),
            MAX_FETCHES.end()
        )),
    }
}

fn environment_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > MAX_NAME_CHARS || !text.bytes().all(plain) {
        return Err(format!(
            "write 1 to {MAX_NAME_CHARS} letters, digits, `-`, `_` or `.`"
        ));
    }
    if text.parse::<EnvironmentId>().is_ok() {
        return Err("a name must not look like an id".to_owned());
    }
    Ok(text.to_owned())
}

/// Does it.
///
/// # Errors
/// The store is away, the name is taken, or there is no such environment.
pub async fn run(command: Command, settings: &Settings) -> anyhow::Result<()> {
    let tokens = super::open_store(settings).await?.tokens();
    match command {
        Command::Create { name, limits } => {
            let Some(environment) = tokens.create_environment(&name).await? else {
                bail!("there is an environment `{name}` already");
            };
            println!("{}", environment.id);
            let limits = limits.over(EnvironmentLimits::default());
            if limits != EnvironmentLimits::default() {
                let set = tokens.set_limits(environment.id, limits).await;
                set.with_context(|| {
                    format!("`{name}` was made, but its limits were not set; set them with `environment set`")
                })?;
            }
        }
        Command::Set {
            environment,
            limits,
        } => {
            let found = tokens.environment(&environment).await?;
            let id = found
                .with_context(|| format!("there is no environment `{environment}`"))?
                .id;
            if limits.weight.is_none() && limits.max_fetches.is_none() {
                bail!("name what to set: `--weight`, `--max-fetches`");
            }
            let limits = limits.over(tokens.limits(id).await?);
            tokens.set_limits(id, limits).await?;
        }
        Command::List => {
            for environment in tokens.environments().await? {
                let limits = tokens.limits(environment.id).await?;
                let most = limits
                    .max_fetches
                    .map_or_else(|| "-".to_owned(), |most| most.to_string());
                println!(
                    "{}\t{}\t{}\t{}\t{most}",
                    environment.id, environment.name, environment.created_at, limits.weight
                );
            }
        }
        Command::Delete { environment, yes } => {
            let found = tokens.environment(&environment).await?;
            let found =
                found.with_context(|| format!("there is no environment `{environment}`"))?;
            if !yes {
                eprintln!(
                    "Everything in environment {} ({}) will be gone: tokens, accounts, webhooks, jobs, runs, dead letters. Type its name to go on:",
                    found.name, found.id
                );
                let mut typed = String::new();
                std::io::stdin().read_line(&mut typed)?;
                ensure!(
                    typed.trim() == found.name,
                    "that is not its name; nothing was deleted (`--yes` doesn't ask)"
                );
            }
            ensure!(
                tokens.delete_environment(&found).await?,
                "somebody else deleted environment `{environment}` meanwhile"
            );
            println!("{}", found.id);
        }
    }
    Ok(())
}
