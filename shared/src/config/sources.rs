//! Where settings come from. This is the only place that reads the environment.

use std::path::{Path, PathBuf};

use super::faults::SettingsFaults;

/// First characters of every variable that is ours.
pub const ENV_PREFIX: &str = "SYNCLINE_";
/// Names the settings file when no flag does.
pub const CONFIG_VARIABLE: &str = "SYNCLINE_CONFIG";
/// Size of a settings file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The layers above the built-in defaults, in rising precedence.
#[derive(Default)]
pub struct Sources {
    pub file: Option<ConfigFile>,
    /// Names and values; what does not start with [`ENV_PREFIX`] is passed over.
    pub environment: Vec<(String, String)>,
    /// What the flags say: names of settings and their values.
    pub overrides: Vec<(String, String)>,
}

/// A settings file that was read.
pub struct ConfigFile {
    pub path: PathBuf,
    pub text: String,
}

impl Sources {
    /// The environment alone, given as it is.
    pub fn from_environment(
        environment: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        let environment = environment
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self {
            environment,
            ..Self::default()
        }
    }

    /// What this process was started with. `config` is the value of `--config`;
    /// without it `SYNCLINE_CONFIG` names the file.
    ///
    /// # Errors
    /// A file that can't be read, a variable that isn't UTF-8.
    pub fn from_process(
        config: Option<&Path>,
        overrides: Vec<(String, String)>,
    ) -> Result<Self, SettingsFaults> {
        let mut faults = SettingsFaults::default();
        let mut environment = Vec::new();
        #[allow(
            clippy::disallowed_methods,
            reason = "the only reader of the environment"
        )]
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with(ENV_PREFIX) {
                continue;
            }
            match value.into_string() {
                Ok(value) => environment.push((name, value)),
                Err(_) => faults.push(name, "is not UTF-8"),
            }
        }
        let named = environment
            .iter()
            .find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value));
        let file = match config.map(Path::to_path_buf).or(named) {
            None => None,
            Some(path) => match read(&path) {
                Ok(text) => Some(ConfigFile { path, text }),
                Err(message) => {
                    faults.push(format!("settings file {}", path.display()), message);
                    None
                }
            },
        };
        faults.into_result(Self {
            file,
            environment,
            overrides,
        })
    }
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| format!("can't be read: {error}"))?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(format!(
            "is larger than {MAX_FILE_BYTES} bytes; is it the right file?"
        ));
    }
    std::fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))
}
