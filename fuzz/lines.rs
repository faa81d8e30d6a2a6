//! Lines: inputs as text, so that a change of them can be read.
//!
//! Each target has a file, `corpus/NAME.txt`, an input a line: printable ASCII stands for itself, any other
//! byte, the backslash among them, as `\x` and two digits. A line that begins with `#` says why.

/// The inputs of a file.
pub(crate) fn inputs(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.split("\\x");
            let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
            for part in parts {
                let code = part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
                bytes.push(code.unwrap_or_else(|| panic!("{line}: \\x and two digits")));
                bytes.extend_from_slice(&part.as_bytes()[2..]);
            }
            bytes
        })
        .collect()
}

/// An input as it stands in a file. A blank at the end would not outlive an editor.
pub(crate) fn line(bytes: &[u8]) -> String {
    let mut line = String::new();
    for (place, byte) in bytes.iter().enumerate() {
        match byte {
            b'#' if place == 0 => line += "\\x23",
            b' ' if place + 1 == bytes.len() => line += "\\x20",
            b' '..=b'~' if *byte != b'\\' => line.push(char::from(*byte)),
            _ => line += &format!("\\x{byte:02x}"),
        }
    }
    line
}
