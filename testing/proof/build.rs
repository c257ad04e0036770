//! Writes a copy of the election's source in which rules can be broken, one at a time, by a switch.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[allow(dead_code, unreachable_pub, reason = "the tests need more of it")]
#[path = "src/mutations.rs"]
mod mutations;

use mutations::MUTATIONS;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../src/election");
    let target = Path::new(&env::var("OUT_DIR")?).join("election");
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rerun-if-changed=src/mutations.rs");
    fs::create_dir_all(&target)?;
    for file in rust_files(&source)? {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let text = fs::read_to_string(&file)?;
        fs::write(target.join(name), broken(name, without_frame(&text))?)?;
    }
    Ok(())
}

/// The Rust files of a folder, without its folders, which hold tests.
fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// The source without its documentation, with which no file can begin that is included, and without tests, which stand at
/// the end of a file.
fn without_frame(text: &str) -> String {
    let text = text.replace("#[cfg(test)]\nmod trying;\n", "");
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.starts_with("//!"))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn broken(file: &str, mut text: String) -> Result<String, String> {
    for (number, mutation) in MUTATIONS.iter().enumerate() {
        for edit in mutation.edits.iter().filter(|edit| edit.file == file) {
            if text.matches(edit.from).count() != 1 {
                return Err(format!(
                    "the mutation {:?} no longer applies: {file} does not hold {:?} exactly once",
                    mutation.name, edit.from
                ));
            }
            let switch = format!("crate::broken::is({number})");
            text = text.replace(edit.from, &edit.to.replace("BROKEN", &switch));
        }
    }
    Ok(text)
}
