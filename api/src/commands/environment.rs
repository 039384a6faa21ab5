//! `syncline-api environment create|list`

use anyhow::bail;
use clap::Subcommand;
use shared::config::Settings;

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
    },
    /// Lists environments: id, name, time of creation.
    List,
}

fn environment_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > MAX_NAME_CHARS || !text.bytes().all(plain) {
        return Err(format!(
            "write 1 to {MAX_NAME_CHARS} letters, digits, `-`, `_` or `.`"
        ));
    }
    Ok(text.to_owned())
}

/// Does it.
///
/// # Errors
/// The store is away, or the name is taken.
pub async fn run(command: Command, settings: &Settings) -> anyhow::Result<()> {
    let tokens = super::open_store(settings).await?.tokens();
    match command {
        Command::Create { name } => match tokens.create_environment(&name).await? {
            Some(environment) => println!("{}", environment.id),
            None => bail!("there is an environment `{name}` already"),
        },
        Command::List => {
            for environment in tokens.environments().await? {
                println!(
                    "{}\t{}\t{}",
                    environment.id, environment.name, environment.created_at
                );
            }
        }
    }
    Ok(())
}
