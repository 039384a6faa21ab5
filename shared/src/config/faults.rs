//! Everything wrong with the settings, told at once.

use std::fmt;

/// One thing wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingFault {
    /// The setting with its variable, the variable, or the file.
    pub subject: String,
    /// What is wrong and what to do; never the value of a secret.
    pub message: String,
}

/// Everything wrong with the settings; prints one line a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsFaults(Vec<SettingFault>);

impl SettingsFaults {
    pub(super) fn push(&mut self, subject: impl Into<String>, message: impl Into<String>) {
        self.0.push(SettingFault {
            subject: subject.into(),
            message: message.into(),
        });
    }

    #[must_use]
    pub fn as_slice(&self) -> &[SettingFault] {
        &self.0
    }

    pub(super) fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for SettingsFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "fault" } else { "faults" };
        write!(f, "the settings have {} {plural}:", self.0.len())?;
        for fault in &self.0 {
            write!(f, "\n  {}: {}", fault.subject, fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsFaults {}
