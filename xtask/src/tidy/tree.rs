//! Tree: the texts of the project, as git would take them, with what is not added yet.

use std::fs;

use crate::run::{Done, read, root};

/// Every text of the project.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

/// One text.
pub(super) struct File {
    /// From the top folder.
    pub(super) path: String,
    pub(super) text: String,
}

impl Tree {
    /// All that git has or would add. What is no text is left out, and so is what has just been removed.
    pub(super) fn read() -> Done<Tree> {
        let listed = read("git ls-files -z --cached --others --exclude-standard")?;
        let mut paths: Vec<&str> = listed.split_terminator('\0').collect();
        paths.sort_unstable();
        paths.dedup();
        let files = paths
            .into_iter()
            .filter_map(|path| {
                let text = fs::read_to_string(root().join(path)).ok()?;
                Some(File { path: path.to_owned(), text })
            })
            .collect();
        Ok(Tree { files })
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Tree {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Tree { files: files.iter().map(file).collect() }
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// The files of a folder, with what is left of their paths.
    pub(super) fn under<'t>(
        &'t self,
        folder: &'t str,
    ) -> impl Iterator<Item = (&'t str, &'t File)> {
        self.files.iter().filter_map(move |file| Some((file.path.strip_prefix(folder)?, file)))
    }
}

impl File {
    /// Written by a tool and read by tools alone.
    pub(super) fn is_by_tool(&self) -> bool {
        ["Cargo.lock", "package-lock.json", "performance.json"].contains(&self.name())
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the whole file is for tests alone.
    pub(super) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| ["tests", "tests.rs", "benches"].contains(&part))
    }

    /// The crate it belongs to: its folder under `crates/`.
    pub(super) fn home(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}
