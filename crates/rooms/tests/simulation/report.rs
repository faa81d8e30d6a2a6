//! Report: what came of many lives, in the words in which `tertulia-proof` tells of a trial.

use serde_json::{Value, json};

use crate::lives::Record;

/// What is written. `from` is the first seed.
pub(crate) fn of(record: &Record, from: u64) -> Value {
    let wrongs: Vec<String> =
        record.wrong.iter().map(|(seed, wrong)| format!("seed {seed}: {wrong}")).collect();
    json!({
        "id": "T24",
        "title": "seeded simulation of sessions, shards, hub and committer",
        "seed": from,
        "figures": {
            "seeds": record.lived,
            "failed": record.wrong.len(),
            "lives a second": record.rate().round(),
        },
        "wrongs_in_all": wrongs.len(),
        "wrongs": wrongs,
        "took_s": record.took.as_secs_f64(),
        "lines": {},
        "table": {"columns": [], "rows": []},
    })
}

#[test]
fn a_report_names_the_seeds_that_went_wrong() {
    let wrong = vec![(1007, "doubled 3 behind 3".to_owned())];
    let took = std::time::Duration::from_secs(2);
    let record = Record { lived: 10, wrong, took, ..Record::default() };
    let report = of(&record, 1000);
    assert_eq!(report["seed"], 1000);
    assert_eq!(report["figures"], json!({"seeds": 10, "failed": 1, "lives a second": 5.0}));
    assert_eq!(report["wrongs"], json!(["seed 1007: doubled 3 behind 3"]));
    assert_eq!(report["wrongs_in_all"], 1);
}
