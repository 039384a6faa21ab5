//! `syncline-api token create|list|revoke`

use anyhow::Context;
use clap::Subcommand;
use shared::{
    config::Settings, ids::TokenId, model::token::Scope, seal::token::new_token,
    store::tokens::DEFAULT_ENVIRONMENT,
};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a token and prints it: the only time that it can be seen.
    Create {
        /// Name or id of the environment it belongs to.
        #[arg(long, default_value = DEFAULT_ENVIRONMENT)]
        environment: String,
        /// `read`, `write` (includes `read`) or `admin` (everything).
        #[arg(long, default_value_t = Scope::Admin)]
        scope: Scope,
        /// What it is for.
        #[arg(long)]
        label: Option<String>,
    },
    /// Lists tokens: id, environment, scope, state, label.
    List {
        /// Only those of this environment (name or id).
        #[arg(long)]
        environment: Option<String>,
    },
    /// Revokes a token; requests with it are refused from now on.
    Revoke {
        /// `tok_…`, as the list shows it.
        id: TokenId,
    },
}

/// Does it.
///
/// # Errors
/// The store is away, or there is no such environment or token.
pub async fn run(command: Command, settings: &Settings) -> anyhow::Result<()> {
    let tokens = super::open_store(settings).await?.tokens();
    match command {
        Command::Create {
            environment,
            scope,
            label,
        } => {
            let found = tokens.environment(&environment).await?;
            let found = found.with_context(|| {
                format!(
                    "there is no environment `{environment}`; make it with `environment create`"
                )
            })?;
            let secret = new_token();
            let token = tokens
                .create(found.id, scope, label, secret.expose())
                .await?;
            eprintln!(
                "{} for environment {} ({scope}); it is shown this once:",
                token.id, found.name
            );
            println!("{}", secret.expose());
        }
        Command::List { environment } => {
            let only = match environment {
                None => None,
                Some(name) => {
                    let found = tokens.environment(&name).await?;
                    Some(
                        found
                            .with_context(|| format!("there is no environment `{name}`"))?
                            .id,
                    )
                }
            };
            for token in tokens.list().await? {
                if only.is_some_and(|only| only != token.environment_id) {
                    continue;
                }
                let state = token
                    .revoked_at
                    .map_or_else(|| "active".to_owned(), |at| format!("revoked {at}"));
                let label = token.label.unwrap_or_default();
                println!(
                    "{}\t{}\t{}\t{state}\t{label}",
                    token.id, token.environment_id, token.scope
                );
            }
        }
        Command::Revoke { id } => {
            let token = tokens.revoke(id).await?;
            token.with_context(|| format!("there is no token {id}"))?;
            println!("{id}");
        }
    }
    Ok(())
}
