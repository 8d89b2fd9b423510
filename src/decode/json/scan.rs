//! Where a JSON value ends: brackets and text, nothing else, so that it can be fed piece by piece.

/// One value on its way past. It is not checked, only measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Value {
    depth: usize,
    in_text: bool,
    escaped: bool,
    begun: bool,
    closed: bool,
}

impl Value {
    /// The rest of a value, `depth` brackets deep.
    pub(super) fn inside(depth: usize) -> Self {
        Self { depth, begun: true, closed: depth == 0, ..Self::default() }
    }

    /// Whether the value's last bracket has closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes the next bytes; the number of them that belong to the value, once its end is among them. A number or word
    /// ends before the byte that cannot be part of it, or with the file (`last`).
    pub(super) fn feed(&mut self, bytes: &[u8], last: bool) -> Option<usize> {
        let mut at = 0;
        while let Some(b) = bytes.get(at).copied() {
            if self.in_text {
                at = self.pass_text(bytes, at);
                if !self.in_text && self.depth == 0 {
                    return self.close(at);
                }
                continue;
            }
            match b {
                b'"' if self.begun && self.depth == 0 => return self.close(at),
                b'"' => self.in_text = true,
                b'{' | b'[' if self.begun && self.depth == 0 => return self.close(at),
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth <= 1 => {
                    let own = usize::from(self.depth == 1);
                    self.depth = 0;
                    return self.close(at + own);
                }
                b'}' | b']' => self.depth -= 1,
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 => {
                    return self.close(at.max(usize::from(!self.begun)));
                }
                _ => {}
            }
            self.begun = true;
            at += 1;
        }
        let word = self.begun && self.depth == 0 && !self.in_text;
        if word && last { self.close(at) } else { None }
    }

    fn close(&mut self, at: usize) -> Option<usize> {
        self.closed = true;
        Some(at)
    }

    /// Goes to the end of a text or of the bytes.
    fn pass_text(&mut self, bytes: &[u8], from: usize) -> usize {
        let mut at = from;
        if std::mem::take(&mut self.escaped) {
            at += 1;
        }
        while let Some(rest) = bytes.get(at..) {
            match memchr::memchr2(b'"', b'\\', rest) {
                None => return bytes.len(),
                Some(i) if rest.get(i) == Some(&b'"') => {
                    self.in_text = false;
                    return at + i + 1;
                }
                Some(i) if i + 1 == rest.len() => {
                    self.escaped = true;
                    return bytes.len();
                }
                Some(i) => at += i + 2,
            }
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: Option<usize>) {
        for cut in 0..=json.len() {
            let mut value = Value::default();
            let (first, second) = json.as_bytes().split_at(cut);
            let got = value.feed(first, false).or_else(|| value.feed(second, true).map(|n| n + cut));
            assert_eq!(got, expect, "{json} cut at {cut}");
        }
    }

    #[test]
    fn a_value_ends_where_json_says_wherever_it_is_cut() {
        check(r#"{"a":"}\"]"} ,"#, Some(12));
        check(r#""x\\","y""#, Some(5));
        check("[1,[2,3]]]", Some(9));
        check("123,4", Some(3));
        check("12", Some(2));
        check("null}", Some(4));
        check(r#"{"a":[}"#, None);
        check(r#"{"a":1"#, None);
        check(r#""abc"#, None);
        check(r#""青岛\"""#, Some(10));
    }
}
