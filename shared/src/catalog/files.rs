//! Where integration documents come from beside the store: the program itself, and a folder.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Bytes of an integration file at most.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why the documents could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the bundled integration `{name}`: {cause}")]
    Bundled {
        name: &'static str,
        cause: serde_json::Error,
    },
    #[error("the integrations folder {}: {cause}", path.display())]
    Folder {
        path: PathBuf,
        cause: std::io::Error,
    },
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
}

/// The bundled integrations, and those of the folder, which shadow them.
///
/// # Errors
/// The first file that can't be read.
pub fn documents(folder: Option<&Path>) -> Result<Vec<Value>, FileError> {
    let mut documents = Vec::new();
    for (name, text) in crate::integration::bundled() {
        let document = serde_json::from_str(text);
        documents.push(document.map_err(|cause| FileError::Bundled { name, cause })?);
    }
    if let Some(folder) = folder {
        documents.extend(read_folder(folder)?);
    }
    Ok(documents)
}

fn read_folder(folder: &Path) -> Result<Vec<Value>, FileError> {
    let listed = std::fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()
    });
    let mut paths = listed.map_err(|cause| FileError::Folder {
        path: folder.to_owned(),
        cause,
    })?;
    paths.sort();
    let mut documents = Vec::new();
    for path in paths {
        let is_yaml = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => false,
            Some("yaml" | "yml") => true,
            _ => continue,
        };
        match read_document(&path, is_yaml) {
            Ok(document) => documents.push(document),
            Err(problem) => return Err(FileError::File { path, problem }),
        }
    }
    Ok(documents)
}

fn read_document(path: &Path, is_yaml: bool) -> Result<Value, String> {
    let read = |error: std::io::Error| error.to_string();
    if std::fs::metadata(path).map_err(read)?.len() > MAX_FILE_BYTES {
        return Err(format!("is larger than {MAX_FILE_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    if is_yaml {
        serde_yaml_ng::from_str(&text).map_err(|error| error.to_string())
    } else {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integration_files_are_read_in_order_and_others_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("b.json"), r#"{"name":"b"}"#).expect("a file");
        std::fs::write(
            folder.path().join("a.yaml"),
            "name: a\nconfig:\n  number: 12\n",
        )
        .expect("a file");
        std::fs::write(folder.path().join("README.md"), "# read me").expect("a file");
        let documents = read_folder(folder.path()).expect("documents");
        assert_eq!(
            documents,
            [
                serde_json::json!({"name": "a", "config": {"number": 12}}),
                serde_json::json!({"name": "b"})
            ]
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("bad.json"), "{").expect("a file");
        let error = format!("{:#}", read_folder(folder.path()).expect_err("a fault"));
        assert!(error.contains("bad.json"), "{error}");
    }
}
