//! Trace: what a server asked of the system, call by call, as strace saw it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::server::{PATIENCE, wait_for};

/// The program that sees system calls.
pub const STRACE: &str = "/usr/bin/strace";

/// Calls that change a file or say something to someone.
const CALLS: &str = "trace=pwrite64,ftruncate,unlink,fdatasync,fsync,write,writev,sendto,sendmsg";

/// Longest write that is kept whole: more than the server ever writes at once.
const BYTES_MAX: &str = "4194304";

/// The words that put a command below strace, which writes to `path`.
pub fn wrapper(path: &Path) -> Vec<String> {
    assert!(Path::new(STRACE).exists(), "strace is missing (apt-get install strace)");
    let path = path.to_str().expect("a path in UTF-8");
    let words = [STRACE, "-f", "-y", "-s", BYTES_MAX, "--seccomp-bpf", "-e", CALLS, "-o", path];
    words.into_iter().chain(["--"]).map(str::to_owned).collect()
}

/// The trace of a server that was killed, once strace has written all of it.
pub fn whole(path: &Path) -> String {
    let mut text = String::new();
    wait_for("the end of the trace", PATIENCE, || {
        text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        text.contains("killed by SIGKILL")
    });
    text
}

/// One system call that went well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The file, the socket or the pipe, as strace names it.
    pub file: String,
    /// What was asked.
    pub what: What,
    /// The line of the trace on which it begins.
    pub begins: usize,
    /// The line on which it ends.
    pub ends: usize,
}

/// What a call does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Into a file, from that place on.
    Write {
        /// The place of the first byte.
        at: u64,
        /// What is written.
        bytes: Vec<u8>,
    },
    /// A file ends there from now on.
    Truncate {
        /// Its length.
        len: u64,
    },
    /// The file is there no more.
    Unlink,
    /// What was written to the file before is on the disk.
    Sync,
    /// To anything that has no places: a socket, a terminal.
    Say {
        /// What is said.
        bytes: Vec<u8>,
    },
}

/// The calls of a trace, by when they began. One that never ended has `ends` at the end of the trace; one that
/// failed is left out.
pub fn read(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Option<Call>> = Vec::new();
    let mut unfinished: HashMap<&str, usize> = HashMap::new();
    let last = trace.lines().count();
    for (at, line) in trace.lines().enumerate() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("<... ") {
            if let Some(place) = unfinished.remove(pid)
                && let Some(call) = calls[place].take()
            {
                calls[place] = call.ended(at, last, rest);
            }
            continue;
        }
        let Some((file, what)) = parse(rest) else { continue };
        let call = Call { file, what, begins: at, ends: last };
        if rest.ends_with("<unfinished ...>") {
            unfinished.insert(pid, calls.len());
            calls.push(Some(call));
        } else {
            calls.push(call.ended(at, last, rest));
        }
    }
    calls.into_iter().flatten().collect()
}

impl Call {
    /// The call as it ended on line `at`, if it went well. What was not written is not counted.
    fn ended(mut self, at: usize, last: usize, line: &str) -> Option<Call> {
        let result = line.rsplit_once(" = ").map_or("", |(_, result)| result);
        // Killed in the middle of it: it may have been done, and may not.
        if result.starts_with('?') {
            return Some(Call { ends: last, ..self });
        }
        let result = result.split(' ').next()?.parse().ok()?;
        if let What::Write { bytes, .. } | What::Say { bytes } = &mut self.what {
            bytes.truncate(result);
        }
        Some(Call { ends: at, ..self })
    }
}

/// `name(3</a/file>, "bytes", 8, 10) = 8`
fn parse(text: &str) -> Option<(String, What)> {
    let (name, rest) = text.split_once('(')?;
    if name == "unlink" {
        let file = String::from_utf8(strings(rest).0).ok()?;
        return Some((file, What::Unlink));
    }
    let (_, rest) = rest.split_once('<')?;
    // A socket's name has brackets and arrows of its own.
    let end = rest.find(">, ").or_else(|| rest.find(">)")).or_else(|| rest.find("> <unf"))?;
    let (file, arguments) = (rest[..end].to_owned(), &rest[end + 1..]);
    let what = match name {
        "pwrite64" => {
            let (bytes, behind) = strings(arguments);
            let mut numbers = behind.trim_start_matches(", ").split([',', ')', ' ']);
            let at = numbers.nth(2)?.parse().ok()?;
            What::Write { at, bytes }
        }
        "ftruncate" => {
            let len = arguments.trim_start_matches(", ").split([')', ' ']).next()?;
            What::Truncate { len: len.parse().ok()? }
        }
        "fdatasync" | "fsync" => What::Sync,
        "write" | "writev" | "sendto" | "sendmsg" => What::Say { bytes: strings(arguments).0 },
        _ => return None,
    };
    Some((file, what))
}

/// The numbers that follow `sign`.
pub fn numbers<'a>(text: &'a str, sign: &'a str) -> impl Iterator<Item = u64> + 'a {
    text.match_indices(sign).filter_map(move |(at, _)| {
        let digits = &text[at + sign.len()..];
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    })
}

/// All quoted strings, joined, and what stands behind the last.
fn strings(text: &str) -> (Vec<u8>, &str) {
    let mut joined = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        let body = &rest.as_bytes()[start + 1..];
        let used = unescape(body, &mut joined);
        rest = &rest[(start + 1 + used + 1).min(rest.len())..];
    }
    (joined, rest)
}

/// A string as C writes it, up to its closing quote. Says how many bytes of text it took.
fn unescape(text: &[u8], out: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at).copied()
        && byte != b'"'
    {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let escaped = text.get(at).copied().unwrap_or(b'\\');
        let digits = text[at..].iter().take(3).take_while(|digit| (b'0'..=b'7').contains(digit));
        let digits = digits.count();
        if digits > 0 {
            let octal = text[at..at + digits].iter();
            out.push(octal.fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0')) as u8);
            at += digits;
            continue;
        }
        at += 1;
        out.push(match escaped {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 0x0b,
            b'f' => 0x0c,
            other => other,
        });
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_call_by_call() {
        let trace = [
            r#"7 pwrite64(3</d/t.db-wal>, "\0abc\"\\\n\377\1778", 10, 4128) = 10"#,
            r#"7 pwrite64(3</d/t.db-wal>, "lost", 4, 0) = -1 EIO (Input/output error)"#,
            r#"8 fdatasync(3</d/t.db-wal> <unfinished ...>"#,
            r#"7 writev(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{iov_base="ab", iov_len=2}, {iov_base="cd", iov_len=2}], 2) = 3"#,
            r#"8 <... fdatasync resumed>)            = 0"#,
            r#"7 ftruncate(3</d/t.db-wal>, 5)          = 0"#,
            r#"7 unlink("/d/t.db-journal")            = 0"#,
            r#"7 pwrite64(3</d/t.db>, "x", 1, 0 <unfinished ...>"#,
            r#"8 fdatasync(3</d/t.db-wal>)            = ?"#,
            r#"7 +++ killed by SIGKILL +++"#,
        ];
        let calls = read(&trace.join("\n"));
        let wal = || "/d/t.db-wal".to_owned();
        let expected = [
            Call {
                file: wal(),
                what: What::Write { at: 4128, bytes: b"\0abc\"\\\n\xff\x7f8".to_vec() },
                begins: 0,
                ends: 0,
            },
            Call { file: wal(), what: What::Sync, begins: 2, ends: 4 },
            Call {
                file: "TCP:[127.0.0.1:1->127.0.0.1:2]".to_owned(),
                what: What::Say { bytes: b"abc".to_vec() },
                begins: 3,
                ends: 3,
            },
            Call { file: wal(), what: What::Truncate { len: 5 }, begins: 5, ends: 5 },
            Call { file: "/d/t.db-journal".to_owned(), what: What::Unlink, begins: 6, ends: 6 },
            Call {
                file: "/d/t.db".to_owned(),
                what: What::Write { at: 0, bytes: b"x".to_vec() },
                begins: 7,
                ends: 10,
            },
            Call { file: wal(), what: What::Sync, begins: 8, ends: 10 },
        ];
        assert_eq!(calls, expected);
    }
}
