//! Walls: which crate may use which. What ARCHITECTURE.md says is absent is absent here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::{Finding, metadata};
use crate::run::Done;

/// Our crates, and which of the others each may use. The server puts them together and may use all but the
/// load tool, which knows a server only by its protocol; the trials know no more, and are for its tests and for
/// the load tool, which starts and watches servers as they do.
const OURS: &[(&str, &[&str])] = &[
    ("tertulia-protocol", &[]),
    ("tertulia-store", &["tertulia-protocol"]),
    ("tertulia-rooms", &["tertulia-protocol", "tertulia-store"]),
    (
        "tertulia-server",
        &["tertulia-protocol", "tertulia-store", "tertulia-rooms", "tertulia-proof"],
    ),
    ("tertulia-load", &["tertulia-protocol", "tertulia-proof"]),
    ("tertulia-proof", &["tertulia-protocol"]),
    ("xtask", &[]),
];

/// What does not come in at all, not even through another crate.
const ABSENT: &[(&str, &[&str])] = &[
    ("tertulia-protocol", &["axum", "hyper", "mio", "rusqlite", "socket2", "tokio"]),
    ("tertulia-store", &["axum", "hyper", "mio", "socket2", "tokio"]),
    ("tertulia-rooms", &["axum", "hyper", "mio", "socket2", "tokio"]),
    ("tertulia-load", &["axum", "tokio"]),
    ("tertulia-proof", &["axum", "rusqlite", "tokio"]),
    ("tertulia-server", &["tertulia-proof"]),
];

/// What is not used directly; the store brings it to rooms, which must not see SQL all the same.
const NOT_DIRECTLY: &[(&str, &[&str])] = &[("tertulia-rooms", &["rusqlite"])];

/// Who uses whom, by name.
#[derive(Default)]
pub(super) struct Graph {
    /// In what runs: neither tests nor build scripts.
    normal: BTreeMap<String, BTreeSet<String>>,
    /// For whatever purpose.
    any: BTreeMap<String, BTreeSet<String>>,
}

/// The graph of this project on this machine.
pub(super) fn graph() -> Done<Graph> {
    let metadata = metadata()?;
    Graph::read(&metadata)
        .ok_or_else(|| "cargo metadata has another shape than expected".to_owned())
}

/// Every use that a wall forbids.
pub(super) fn check(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |name: &str, what: String| {
        let folder =
            name.strip_prefix("tertulia-").map_or(name.to_owned(), |own| format!("crates/{own}"));
        findings.push(Finding { path: format!("{folder}/Cargo.toml"), line: 0, what });
    };
    for (name, may) in OURS {
        let Some(used) = graph.any.get(*name) else {
            found(name, format!("there is no crate {name}; take it from the walls"));
            continue;
        };
        for other in used.iter().filter(|other| is_ours(other) && !may.contains(&other.as_str())) {
            found(
                name,
                format!("{name} uses {other}, which is no neighbour of it; it may use {may:?}"),
            );
        }
    }
    for name in graph.any.keys().filter(|name| is_named_ours(name) && !is_ours(name)) {
        found(name, format!("{name} has no place in the walls; give it one"));
    }
    for (name, absent) in ABSENT {
        for other in *absent {
            if let Some(way) = graph.way(name, other) {
                found(
                    name,
                    format!("{other} comes in ({}); leave it to the server", way.join(" → ")),
                );
            }
        }
    }
    for (name, absent) in NOT_DIRECTLY {
        for other in absent
            .iter()
            .filter(|other| graph.normal.get(*name).is_some_and(|used| used.contains(**other)))
        {
            found(name, format!("{name} uses {other}; ask the store for it"));
        }
    }
    findings
}

fn is_ours(name: &str) -> bool {
    OURS.iter().any(|(own, _)| *own == name)
}

fn is_named_ours(name: &str) -> bool {
    name.starts_with("tertulia")
}

impl Graph {
    fn read(metadata: &Value) -> Option<Graph> {
        let mut names = BTreeMap::new();
        for package in metadata["packages"].as_array()? {
            names.insert(package["id"].as_str()?, package["name"].as_str()?);
        }
        let mut graph = Graph::default();
        for node in metadata["resolve"]["nodes"].as_array()? {
            let name = *names.get(node["id"].as_str()?)?;
            graph.any.entry(name.to_owned()).or_default();
            for used in node["deps"].as_array()? {
                let other = *names.get(used["pkg"].as_str()?)?;
                let kinds = used["dep_kinds"].as_array()?;
                graph.add(name, other, kinds.iter().any(|kind| kind["kind"].is_null()));
            }
        }
        Some(graph)
    }

    fn add(&mut self, name: &str, other: &str, normal: bool) {
        self.any.entry(name.to_owned()).or_default().insert(other.to_owned());
        if normal {
            self.normal.entry(name.to_owned()).or_default().insert(other.to_owned());
        }
    }

    /// The shortest way from `name` to `other` by what runs.
    fn way<'g>(&'g self, name: &'g str, other: &str) -> Option<Vec<&'g str>> {
        let mut ways = VecDeque::from([vec![name]]);
        let mut seen = BTreeSet::from([name]);
        while let Some(way) = ways.pop_front() {
            let last = *way.last().expect("a way has a beginning");
            if last == other {
                return Some(way);
            }
            for next in self.normal.get(last).into_iter().flatten() {
                if seen.insert(next) {
                    ways.push_back([way.as_slice(), &[next]].concat());
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our crates as they should be, and then some.
    fn graph(more: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (name, may) in OURS {
            graph.any.entry((*name).to_owned()).or_default();
            may.iter().for_each(|other| graph.add(name, other, *other != "tertulia-proof"));
        }
        graph.add("tertulia-store", "rusqlite", true);
        graph.add("tertulia-server", "tokio", true);
        more.iter().for_each(|(name, other)| graph.add(name, other, true));
        graph
    }

    #[track_caller]
    fn check_more(more: &[(&str, &str)], expected: &[&str]) {
        let found = check(&graph(more));
        let found: Vec<String> = found.iter().map(Finding::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_hole_in_a_wall_is_found() {
        check_more(&[], &[]);
        check_more(
            &[("tertulia-protocol", "tertulia-store")],
            &[
                "crates/protocol/Cargo.toml: tertulia-protocol uses tertulia-store, which is no neighbour of it; it may use []",
                "crates/protocol/Cargo.toml: rusqlite comes in (tertulia-protocol → tertulia-store → rusqlite); leave it to the server",
                "crates/proof/Cargo.toml: rusqlite comes in (tertulia-proof → tertulia-protocol → tertulia-store → rusqlite); leave it to the server",
            ],
        );
        check_more(
            &[("tertulia-store", "pool"), ("pool", "tokio")],
            &[
                "crates/store/Cargo.toml: tokio comes in (tertulia-store → pool → tokio); leave it to the server",
                "crates/rooms/Cargo.toml: tokio comes in (tertulia-rooms → tertulia-store → pool → tokio); leave it to the server",
            ],
        );
        check_more(
            &[("tertulia-rooms", "rusqlite")],
            &["crates/rooms/Cargo.toml: tertulia-rooms uses rusqlite; ask the store for it"],
        );
        check_more(
            &[("tertulia-attic", "itoa")],
            &["crates/attic/Cargo.toml: tertulia-attic has no place in the walls; give it one"],
        );
    }

    #[test]
    fn a_dependency_of_tests_counts_between_our_crates_only() {
        let mut graph = graph(&[]);
        graph.add("tertulia-load", "tertulia-server", false);
        graph.add("tertulia-rooms", "tokio", false);
        let found = check(&graph);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.starts_with("tertulia-load uses tertulia-server"), "{found:?}");
    }

    #[test]
    fn what_cargo_says_is_read() {
        let metadata = serde_json::json!({
            "packages": [{"id": "1", "name": "a"}, {"id": "2", "name": "b"}, {"id": "3", "name": "c"}],
            "resolve": {"nodes": [
                {"id": "1", "deps": [
                    {"pkg": "2", "dep_kinds": [{"kind": "dev"}, {"kind": null}]},
                    {"pkg": "3", "dep_kinds": [{"kind": "dev"}]},
                ]},
                {"id": "2", "deps": []},
                {"id": "3", "deps": []},
            ]},
        });
        let graph = Graph::read(&metadata).unwrap();
        assert_eq!(graph.way("a", "b"), Some(vec!["a", "b"]));
        assert_eq!(graph.way("a", "c"), None);
        assert_eq!(graph.any["a"].len(), 2);
        assert!(Graph::read(&serde_json::json!({})).is_none());
    }
}
