//! Part: what a check found, in the shape of a trial, so that it stands in the report of a soak.

use std::fs;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::run::Done;

/// What one check found.
pub(crate) struct Part {
    id: &'static str,
    title: &'static str,
    begun: Instant,
    figures: Map<String, Value>,
    columns: Vec<&'static str>,
    rows: Vec<Value>,
}

impl Part {
    /// Nothing yet.
    pub(crate) fn begin(id: &'static str, title: &'static str) -> Part {
        let (figures, begun) = (Map::new(), Instant::now());
        Part { id, title, begun, figures, columns: Vec::new(), rows: Vec::new() }
    }

    /// A figure under that name.
    pub(crate) fn figure(&mut self, name: &str, value: impl Into<Value>) {
        self.figures.insert(name.to_owned(), value.into());
    }

    /// Figures of one case; every case has the same columns.
    pub(crate) fn case(&mut self, case: &str, columns: &[(&'static str, u64)]) {
        self.columns = columns.iter().map(|(name, _)| *name).collect();
        let values: Vec<u64> = columns.iter().map(|(_, value)| *value).collect();
        self.rows.push(json!([case, "", values]));
    }

    /// Writes it where `path` says, if it does. What went wrong stays wrong, and stands there, too.
    pub(crate) fn end(self, path: Option<&str>, done: Done) -> Done {
        let Some(path) = path else { return done };
        let wrongs: Vec<&str> = done.as_ref().err().map(String::as_str).into_iter().collect();
        let part = json!({
            "id": self.id, "title": self.title, "figures": self.figures, "lines": {},
            "table": {"columns": self.columns, "rows": self.rows},
            "wrongs": wrongs, "wrongs_in_all": wrongs.len(),
            "took_s": self.begun.elapsed().as_secs_f64(),
        });
        let written = fs::write(path, format!("{part:#}\n"));
        written.map_err(|error| format!("{path}: {error}")).and(done)
    }
}
