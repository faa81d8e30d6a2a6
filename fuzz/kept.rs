//! Kept: the inputs that fuzzing found worth keeping, against the property that they are for.

mod lines;

use std::fs;
use std::path::Path;

/// Checks every input that is kept for `name`, and many of them cut short.
pub(crate) fn check(name: &str, property: impl Fn(&[u8])) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fuzz/corpus/{name}.txt"));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let inputs = lines::inputs(&text);
    assert!(!inputs.is_empty(), "nothing is kept for {name}");
    for bytes in inputs {
        // Shown only if the property does not hold.
        println!("{}", lines::line(&bytes));
        property(&bytes);
        for end in 1..bytes.len().min(16) {
            property(&bytes[..bytes.len() - end]);
        }
    }
}
